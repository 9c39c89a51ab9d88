# A folder of images by the rows of EfficientNet-Lite0, pretrained on ImageNet and frozen: an image
# passes the network once. In training an item is the row of an image and of one of its nearest.
# Tests are of images, which may be new ones: the checkpoint holds the network too.
data_root = 'data/images'
train_prefix = ''
test_prefix = ''
num_neighbors = 20
batch_size = 1000
image_size = 192  # of small photographs; 128 takes less than half the time
variant = 0  # of EfficientNet-Lite; 2 sees more, for a third more time: what folders are seen by
mirror = True  # the mean of an image and its mirror image, for twice the time
num_workers = 2  # that read images for the network
store_dir = 'work_dirs/features'

encoder = dict(type='EfficientNetLite', variant=variant, freeze=True, mirror=mirror)
data_preprocessor = dict(type='MultiViewDataPreprocessor', to_rgb=True)

pipeline = [
    dict(type='LoadImage', on_error='blank', min_side=2 * image_size),
    dict(type='ResizeEdge', scale=image_size, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
train_images = dict(
    type='ImageFolder', data_root=data_root, data_prefix=train_prefix, pipeline=pipeline
)
test_images = dict(
    type='ImageFolder', data_root=data_root, data_prefix=test_prefix, pipeline=pipeline
)
rows = dict(type='FeatureDataset', encoder=encoder, store_dir=store_dir, num_workers=num_workers)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        dataset=train_images,
        views=dict(view1='image', neighbor='neighbor'),
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
test_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=test_images,
)
test_evaluator = val_evaluator
