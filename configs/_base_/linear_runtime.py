# A linear classifier on a frozen backbone: load_from is any pretraining checkpoint, whose whole
# backbone must be there, and nothing of which may move.
_base_ = 'default_runtime.py'

default_hooks = dict(
    _delete_=True,  # as in default_runtime.py, without the contact sheet
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', interval=10, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)
custom_hooks = [dict(type='PretrainedBackboneHook'), dict(type='FrozenBackboneCheckHook')]
val_cfg = dict()
test_cfg = dict()
