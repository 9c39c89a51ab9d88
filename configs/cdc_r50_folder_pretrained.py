# CDC on a folder of your own photographs, on top of a pretrained ResNet-50 that stays as it is: for
# few images, or without a GPU. Each image passes the network once and its row of features is kept;
# from then on an epoch takes seconds. Set data_root and num_clusters. load_from takes any
# ResNet-50: MoCo's released files (https://github.com/facebookresearch/moco), torchvision's, your
# own checkpoint.
_base_ = 'cdc_r50_imagenet.py'

data_root = 'data/images'
num_clusters = 10
epochs = 100
batch_size = 256
num_workers = 2  # that read images for the network
image_size = 224
image_cache = None  # or what tools/build_cache.py made of data_root, see docs/scale.md
load_from = 'checkpoints/moco_v2_800ep_pretrain.pth.tar'
store_dir = 'work_dirs/features'
custom_hooks = [dict(type='PretrainedBackboneHook')]

# What the two views of an image are: the image itself, one of its nearest neighbours, or
# `augmented`, one of num_views that are drawn once (each takes another pass through the network).
# What views differ in, clusters disregard.
view1 = 'image'
view2 = 'neighbor'
num_neighbors = 20
num_views = 4
augment = dict(
    crop=dict(type='BatchRandomResizedCrop', size=image_size, scale=(0.2, 1.0)),
    flip=dict(type='BatchRandomHorizontalFlip'),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
    blur=dict(type='BatchGaussianBlur', kernel_size=23, sigma=(0.1, 2.0), p=0.5),
)

encoder = dict(
    type='Encoder',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    freeze=True,
    weights=load_from,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    input_size=image_size,
)
model = dict(
    backbone=dict(_delete_=True, **encoder),
    head=dict(num_clusters=num_clusters),
    queue_size=None,  # half the images
    momentum=0.99,  # a folder has few iterations
    symmetric=True,
)
data_preprocessor = dict(
    _delete_=True,
    type='MultiViewDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

# A photograph that cannot be read is left out, in training and test.
pipeline = [
    dict(type='LoadImage', on_error='blank', min_side=image_size * 16 // 7, cache=image_cache),
    dict(type='ResizeEdge', scale=image_size * 8 // 7, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
rows = dict(
    type='FeatureDataset',
    dataset=dict(type='ImageFolder', data_root=data_root, pipeline=pipeline),
    encoder=encoder,
    store_dir=store_dir,
    num_workers=num_workers,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        views=dict(view1=view1, view2=view2),
        num_views=num_views,
        num_neighbors=num_neighbors,
        augment=augment,
        **rows,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(_delete_=True, **rows),
)
# Of images, which may be new ones: the checkpoint holds the network too.
test_dataloader = dict(
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(_delete_=True, type='ImageFolder', data_root=data_root, pipeline=pipeline),
)

param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
