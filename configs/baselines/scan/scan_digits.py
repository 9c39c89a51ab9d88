# SCAN's clustering step on the frozen features of a pretext: see scan_lite0_rows.py. Self-labelling
# goes on from its checkpoint with the whole network: scan_digits_selflabel.py.
_base_ = ['../../_base_/datasets/digits_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
num_heads = 10
epochs = 100
batch_size = 256
lr = 1e-3

model = dict(
    type='SCAN', num_clusters=num_clusters, num_heads=num_heads, backbone={{_base_.encoder}}
)
train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=epochs))
randomness = dict(seed=0)
