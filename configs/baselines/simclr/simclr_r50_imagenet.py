# SimCLR on ImageNet (Table 3), 8 GPUs of 32 images each: the row is of 200 epochs with a batch of
# 256, as in the paper of MoCo v2, where it comes from. The model is mmpretrain's, the settings are
# SimCLR's: LARS, lr 0.3 for 256 images, 10 epochs of warm-up.
_base_ = ['../../_base_/datasets/imagenet_mocov2.py', '../../_base_/runtime.py']

epochs = 200
warmup = max(1, epochs // 20)  # 10 epochs
batch_size = 32  # on each of 8 GPUs
lr = 0.3  # of all 256 images
temperature = 0.1

model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(
        type='NonLinearNeck',
        in_channels=2048,
        hid_channels=2048,
        out_channels=128,
        norm_cfg=dict(type='SyncBN'),
    ),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=temperature),
)

# Crops of SimCLR's sizes, and its colours at full strength.
crop = [dict(type='FastRandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0))]
train_pipeline = [
    dict(type='LoadImage', on_error='skip', cache=_base_.image_cache),
    dict(type='MultiView', num_views=2, transforms=[crop]),
    dict(type='PackInputs'),
]
view = dict(jitter=dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2))
data_preprocessor = dict(named=False, views=dict(view1=view, view2=view))
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
val_dataloader = None
val_evaluator = None

no_adaptation = dict(decay_mult=0.0, lars_exclude=True)
optim_wrapper = dict(
    optimizer=dict(type='ForeachLARS', lr=lr, momentum=0.9, weight_decay=1e-6),
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
auto_scale_lr = dict(base_batch_size=256)
