# CDC on a folder of your own photographs, from scratch: set data_root and num_clusters. Images may
# have any size and lie at any depth. Clusters are found in all of them, so they are also what is
# evaluated; labels, if there are class folders, are only compared with the clusters. For images of
# about 32 pixels there is cdc_r18_cifar10_folder.py.
_base_ = ['_base_/models/cdc_r18.py', '_base_/default_runtime.py']

data_root = 'data/images'
num_clusters = 10
image_size = 128
epochs = 400
batch_size = 256
lr = 0.03  # of a batch of 256: the CIFAR-10 recipe's 0.06 for 512
num_workers = 8
image_cache = None  # or what tools/build_cache.py made of data_root, see docs/scale.md

model = dict(
    backbone=dict(type='ResNet'),  # with the stem for photographs
    head=dict(num_clusters=num_clusters),
    queue_size=None,  # by the number of images
)

# What the views differ in, clusters disregard: leave out jitter and grey (jitter=None) where colour
# tells things apart, flip where left and right do. The values are MoCo v2's.
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
    # Of the smallest crop, 20 % of the image at 3:4, the shorter side still has image_size pixels.
    dict(type='LoadImage', on_error='skip', min_side=image_size * 8 // 3, cache=image_cache),
    dict(type='MultiView', num_views=2, transforms=[crop]),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage', min_side=image_size * 16 // 7, cache=image_cache),
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
        type='ImageFolder', data_root=data_root, with_label=False, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers // 2,
    persistent_workers=num_workers > 1,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageFolder', data_root=data_root, pipeline=test_pipeline),
)
val_evaluator = dict(type='ClusteringMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4, fused=True),
    clip_grad=dict(max_norm=1.0),  # as in cdc_r18_cifar10.py
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)
