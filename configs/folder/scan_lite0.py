# Clusters of a folder of photographs on a laptop: SCAN's heads on the principal components of the
# rows of a pretrained network; those of least loss predict together. Each image passes the network
# once; from then on an epoch takes a part of a second. Set data_root and num_clusters.
_base_ = '../_base_/default_runtime.py'

data_root = 'data/images'
train_prefix = ''
test_prefix = ''
num_clusters = 10
num_heads = 32
num_components = 128
num_neighbors = 20
epochs = 50
batch_size = 1000
lr = 1e-1
image_size = 128  # 224, as the network was trained, takes three times as long
num_workers = 2  # that read images for the network
store_dir = 'work_dirs/features'

encoder = dict(type='EfficientNetLite', variant=0, freeze=True)
model = dict(
    type='SCAN',
    num_clusters=num_clusters,
    num_heads=num_heads,
    num_components=num_components,
    backbone=encoder,
)
data_preprocessor = dict(type='MultiViewDataPreprocessor', to_rgb=True)
custom_hooks = [dict(type='FitRowsHook'), dict(type='ConsensusHook')]

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
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
