# A linear classifier on a frozen backbone: load_from is any pretraining checkpoint, whose whole
# backbone must be there, and nothing of which may move.
_base_ = 'runtime.py'

custom_hooks = [dict(type='PretrainedBackboneHook'), dict(type='FrozenBackboneCheckHook')]
val_cfg = dict()
test_cfg = dict()
