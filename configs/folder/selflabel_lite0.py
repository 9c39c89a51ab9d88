# Trains the network of scan_lite0.py, too, from where its clusters are: confident clusters of
# images are labels of strong views of them (self-labelling). It sees each image three times in an
# epoch, forwards and once backwards: for those with a GPU or patience. --finetune of
# tools/cluster.py runs it; by itself it goes on from a checkpoint of scan_lite0.py.
_base_ = '../_base_/default_runtime.py'

data_root = 'data/images'
train_prefix = ''
test_prefix = ''
num_clusters = 10
num_heads = 64
num_components = 128
epochs = 2
batch_size = 64
lr = 1e-5
threshold = 0.9  # heads that vote together are seldom surer
image_size = 192
num_workers = 2
load_from = 'work_dirs/scan_lite0/epoch_50.pth'

scan = dict(
    type='SCAN',
    num_clusters=num_clusters,
    num_heads=num_heads,
    num_components=num_components,
    backbone=dict(type='EfficientNetLite', variant=0, mirror=True),
)
model = dict(type='SelfLabel', clusterer=scan, loss=dict(type='SelfLabelLoss', threshold=threshold))
strong_view = dict(
    flip=dict(type='BatchRandomHorizontalFlip'),
    crop=dict(type='BatchRandomResizedCrop', size=image_size, scale=(0.5, 1.0)),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
    cutout=dict(type='kornia/RandomErasing', scale=(0.02, 0.15), ratio=(1.0, 1.0), p=1.0),
)
data_preprocessor = dict(
    type='MultiViewDataPreprocessor', views=dict(weak=dict(), strong=strong_view), to_rgb=True
)
custom_hooks = [dict(type='SelfLabelHook', finetune=True), dict(type='NormEvalHook')]

# The same steps for training and test, as the weak view is what the test sees.
load = dict(type='LoadImage', min_side=2 * image_size)
resize = dict(type='ResizeEdge', scale=image_size, edge='short', backend='pillow')
crop = dict(type='CenterCrop', crop_size=image_size)
pack = dict(type='PackInputs')
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ImageFolder',
        data_root=data_root,
        data_prefix=train_prefix,
        with_label=False,
        pipeline=[dict(load, on_error='skip'), resize, crop, pack],
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ImageFolder',
        data_root=data_root,
        data_prefix=test_prefix,
        pipeline=[dict(load, on_error='blank'), resize, crop, pack],
    ),
)
val_evaluator = dict(type='ClusteringMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr, weight_decay=1e-4))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
param_scheduler = []
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
