# MoCo v3 on ImageNet with ResNet-50, the pretext of Table 2 (1000 epochs), 8 GPUs of 512 images
# each: the model is mmpretrain's, the settings are MoCo v3's own for 1000 epochs.
_base_ = ['../../_base_/datasets/imagenet_mocov3.py', '../../_base_/runtime.py']

epochs = 1000
warmup = max(1, epochs // 100)  # 10 epochs
batch_size = 512  # on each of 8 GPUs
lr = 4.8  # of all 4096 images: 0.3 for 256
temperature = 1.0

mlp = dict(type='NonLinearNeck', hid_channels=4096, out_channels=256, norm_cfg=dict(type='SyncBN'))
model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='SyncBN'), zero_init_residual=False),
    neck=dict(in_channels=2048, with_last_bn_affine=False, **mlp),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(in_channels=256, with_avg_pool=False, with_last_bn=False, **mlp),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature,
    ),
    base_momentum=0.004,  # of the newest weights; falls to 0 along a cosine
)
data_preprocessor = dict(named=False)
train_dataloader = dict(batch_size=batch_size)
val_dataloader = None
val_evaluator = None

no_adaptation = dict(decay_mult=0.0, lars_exclude=True)
optim_wrapper = dict(
    optimizer=dict(type='ForeachLARS', lr=lr, momentum=0.9, weight_decay=1.5e-6),
    paramwise_cfg=dict(custom_keys=dict(bn=no_adaptation, bias=no_adaptation)),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=warmup,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=max(1, epochs - warmup),
        by_epoch=True,
        begin=warmup,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=4096)
