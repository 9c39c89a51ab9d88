# CDC from scratch on 10,000 images of Fashion-MNIST, with a small network, for two CPU cores.
_base_ = ['_base_/datasets/fashion_mnist.py', '_base_/default_runtime.py']

num_clusters = 10
epochs = 30
batch_size = 256
lr = 3e-3
tau = 0.15
t = 0.20
alpha = 5.0

model = dict(
    type='CDC',
    backbone=dict(
        type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 256), strides=(2, 2, 2, 2)
    ),
    neck=dict(type='MoCoV2Neck', in_channels=256, hid_channels=256),
    head=dict(
        type='CDCHead',
        num_clusters=num_clusters,
        instance_dim=64,
        tau=tau,
        t=t,
        alpha=alpha,
    ),
    queue_size=4096,
    momentum=0.99,
    symmetric=True,
)

train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=epochs))
randomness = dict(seed=0)
