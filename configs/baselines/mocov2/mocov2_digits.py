# MoCo v2 on the digits, to compare with cdc_digits.py, with its network, data and schedule: see
# mocov2_r18_cifar10.py. Neither clips gradients.
_base_ = ['../../_base_/datasets/digits.py', '../../_base_/runtime.py']

epochs = 160
batch_size = 128
lr = 3e-3
temperature = 0.1

model = dict(
    type='MoCo',
    backbone=dict(
        type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 128), strides=(1, 2, 2, 2)
    ),
    neck=dict(type='MoCoV2Neck', in_channels=128, hid_channels=256, out_channels=64),
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        temperature=temperature,
    ),
    queue_len=1024,
    feat_dim=64,
    momentum=0.01,
)
data_preprocessor = dict(named=False)
train_dataloader = dict(batch_size=batch_size)
val_dataloader = None
val_evaluator = None

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs)
test_cfg = dict()
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
randomness = dict(seed=0)
