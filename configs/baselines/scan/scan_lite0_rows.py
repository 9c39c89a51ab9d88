# SCAN's clustering step as in its paper: ten linear heads on whole rows, the one of least loss
# predicts. The network is frozen, and the learning rate is ten times that of SCAN's fine-tuning.
# For this project's own form on a folder see configs/folder/scan_lite0.py.
_base_ = ['../../_base_/datasets/lite0_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
num_heads = 10
epochs = 50
batch_size = 1000
lr = 1e-3

model = dict(
    type='SCAN', num_clusters=num_clusters, num_heads=num_heads, backbone={{_base_.encoder}}
)
train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
