# Linear classification on ImageNet with AdCo's protocol, which the paper follows (Table 3): lr 10,
# cosine to 0.01, and AdCo's default augmentation, which is MoCo v2's. AdCo also reports a mean over
# eight random crops of each test image; here it is the centre crop alone.
_base_ = 'linear_r50_imagenet_moco.py'

epochs = 100
lr = 10.0

train_pipeline = [
    dict(type='LoadImage', cache=_base_.image_cache),
    dict(
        type='RandomResizedCrop',
        scale=_base_.image_size,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
    ),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(
        type='RandomApply',
        transforms=[
            dict(
                type='torchvision/ColorJitter',
                brightness=0.4,
                contrast=0.4,
                saturation=0.4,
                hue=0.1,
            )
        ],
        prob=0.8,
    ),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0.01, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
