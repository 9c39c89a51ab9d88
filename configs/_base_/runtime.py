# What every training has.
# Every class is found by its bare name: ours register into mmpretrain's registries.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['cdc_mm'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    # RuntimeInfoHook that does not wait for the device in each iteration.
    runtime_info=dict(type='DeviceInfoHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # CheckpointHook whose files load under torch.load(weights_only=True).
    checkpoint=dict(type='SafeCheckpointHook', interval=10, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    # All ranks validate with the statistics that rank 0 saves.
    broadcast_bn=dict(type='BroadcastBNHook'),
    # Warns of a training that has collapsed; on_collapse='stop' ends it.
    collapse_watch=dict(type='CollapseWatchHook'),
    # A resumed training equals one that was never interrupted.
    exact_resume=dict(type='ExactResumeHook'),
    faulty_images=dict(type='FaultyImagesHook'),
    # Of several processes, names the one that hangs.
    rank_watch=dict(type='RankWatchHook', timeout=120, timeout_elsewhere=1800),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Later than rank_watch, which says more.
    dist_cfg=dict(backend='nccl', timeout=2100),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
