# SCAN on MoCo v2's frozen ResNet-50, full ImageNet: Table 2 of CDC's paper, as in SCAN's code for
# ImageNet: 50 neighbours, ten linear heads, 100 epochs of batches of 512. Here rows are stored, so
# the image has one of four augmentations and its neighbour none; and they are standardised, so that
# the learning rate is not SCAN's 5.0 (of SGD) but that of scan_lite0_rows.py. Not measured here.
# Weights: moco_v2_800ep_pretrain.pth.tar of https://github.com/facebookresearch/moco
_base_ = '../../_base_/rows_runtime.py'

data_root = 'data/imagenet'
pretrained = 'checkpoints/moco_v2_800ep_pretrain.pth.tar'
num_clusters = 1000
num_heads = 10
num_neighbors = 50
epochs = 100
batch_size = 512
lr = 1e-3
image_size = 224
num_workers = 8  # that read images for the network
store_dir = 'work_dirs/features'

encoder = dict(
    type='Encoder',
    backbone=dict(type='ResNet', depth=50),
    freeze=True,
    weights=pretrained,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    input_size=image_size,
)
model = dict(type='SCAN', num_clusters=num_clusters, num_heads=num_heads, backbone=encoder)
data_preprocessor = dict(type='MultiViewDataPreprocessor', to_rgb=True)

pipeline = [
    dict(type='LoadImage', on_error='blank'),
    dict(type='ResizeEdge', scale=image_size * 8 // 7, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
augment = dict(
    crop=dict(type='BatchRandomResizedCrop', size=image_size, scale=(0.2, 1.0)),
    flip=dict(type='BatchRandomHorizontalFlip'),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
)
train_images = dict(type='ListedImageNet', data_root=data_root, split='train', pipeline=pipeline)
test_images = dict(type='ListedImageNet', data_root=data_root, split='val', pipeline=pipeline)
rows = dict(
    type='FeatureDataset',
    encoder=encoder,
    store_dir=store_dir,
    dtype='float16',
    num_workers=num_workers,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        dataset=train_images,
        views=dict(view1='augmented', neighbor='neighbor'),
        augment=augment,
        num_neighbors=num_neighbors,
        **rows,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(dataset=test_images, **rows),
)
val_evaluator = dict(type='ClusteringMetric')
# Of images, which may be new ones: the checkpoint holds the network too.
test_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=test_images,
)
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
