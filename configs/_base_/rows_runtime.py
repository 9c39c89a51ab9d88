# A clusterer on stored rows: epochs of a moment, evaluated and saved at the end. Its config says
# how many, and the optimizer.
_base_ = 'default_runtime.py'

epochs = 50

param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=epochs))
