# MoCo v2 on ImageNet (Table 3), 8 GPUs of 32 images each: the model is mmpretrain's, the settings
# are MoCo v2's own. Batch norm is each GPU's, and keys are shuffled over the GPUs.
_base_ = ['../../_base_/datasets/imagenet_mocov2.py', '../../_base_/runtime.py']

epochs = 200
batch_size = 32  # on each of 8 GPUs
lr = 0.03  # of all 256 images
temperature = 0.2

model = dict(
    type='MoCo',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128),
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        temperature=temperature,
    ),
    queue_len=65536,
    feat_dim=128,
    momentum=0.001,  # what mmpretrain calls momentum is 1 - m
)
data_preprocessor = dict(named=False)
train_dataloader = dict(batch_size=batch_size)
val_dataloader = None
val_evaluator = None

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)
