# MoCo v2's augmentation: the crop, which must see the full image, in the data workers; the rest for
# whole batches on the model's device.
data_root = 'data/imagenet'
batch_size = 32  # on each of 8 GPUs
num_workers = 8  # of each GPU
image_size = 224
image_cache = None  # or what tools/build_cache.py made of data_root, see docs/scale.md

crop = [dict(type='FastRandomResizedCrop', scale=image_size, crop_ratio_range=(0.2, 1.0))]
view = dict(
    flip=dict(type='BatchRandomHorizontalFlip'),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
    blur=dict(type='BatchGaussianBlur', kernel_size=23, sigma=(0.1, 2.0), p=0.5),
)
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    views=dict(view1=view, view2=view),
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImage', on_error='skip', cache=image_cache),
    dict(type='MultiView', num_views=2, transforms=[crop]),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage', cache=image_cache),
    dict(type='ResizeEdge', scale=image_size * 8 // 7, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ListedImageNet', data_root=data_root, split='train', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers // 2,
    persistent_workers=num_workers > 1,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ListedImageNet', data_root=data_root, split='val', pipeline=test_pipeline),
)
val_evaluator = dict(type='ClusteringMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
