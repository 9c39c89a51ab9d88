# ImageNet for linear classification: random crop and flip, 8 GPUs of 32 images each.
data_root = 'data/imagenet'
batch_size = 32  # on each of 8 GPUs
num_workers = 8  # of each GPU
image_size = 224
image_cache = None  # or what tools/build_cache.py made of data_root, see docs/scale.md

train_pipeline = [
    dict(type='LoadImage', cache=image_cache),
    dict(
        type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.08, 1.0), backend='pillow'
    ),
    dict(type='RandomFlip', prob=0.5),
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
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
