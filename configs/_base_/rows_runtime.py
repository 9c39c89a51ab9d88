# A clusterer on stored rows: a constant learning rate unless its config says otherwise.
_base_ = 'default_runtime.py'

param_scheduler = []
val_cfg = dict()
test_cfg = dict()
