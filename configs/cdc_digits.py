# CDC on the 1,797 digits that scikit-learn ships: the quickstart, minutes on two CPU cores.
# Network, augmentation and t were chosen without labels, by how far seeds agree (docs/results.md).
_base_ = ['_base_/datasets/digits.py', '_base_/default_runtime.py']

num_clusters = 10
epochs = 160
batch_size = 128
lr = 3e-3
tau = 0.15
t = 0.20
alpha = 5.0

model = dict(
    type='CDC',
    backbone=dict(
        type='SmallConvNet',
        in_channels=1,
        channels=(32, 64, 128, 128),
        strides=(1, 2, 2, 2),  # ends at 1x1: where a stroke lies tells a 6 from a 9
    ),
    neck=dict(type='MoCoV2Neck', in_channels=128, hid_channels=256),
    head=dict(
        type='CDCHead',
        num_clusters=num_clusters,
        instance_dim=64,
        tau=tau,
        t=t,
        alpha=alpha,
    ),
    queue_size=1024,
    momentum=0.99,
    symmetric=True,
)

train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
randomness = dict(seed=0)
