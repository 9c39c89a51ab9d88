# CDC on a folder of your own small images, of about 32 pixels, from scratch: set data_root and
# num_clusters. By default it is cdc_r18_cifar10.py on a copy of CIFAR-10 as image files:
# data/cifar10_folder/{train,test}/<class>/*.jpg. For photographs there is cdc_r18_folder.py.
_base_ = ['_base_/models/cdc_r18.py', '_base_/default_runtime.py']

data_root = 'data/cifar10_folder'
# The folders below data_root to train on and to evaluate. '' is all of data_root: of a folder that
# is not split, set both (train_prefix= test_prefix= on the command line).
train_prefix = 'train'
test_prefix = 'test'
num_clusters = 10
image_size = 32  # to which images of other sizes are resized
epochs = 1200
batch_size = 512
lr = 6e-2  # of a batch of 512
queue_size = 4096  # less than the number of images; None is half of it
num_workers = 4

model = dict(
    head=dict(num_clusters=num_clusters),
    queue_size=queue_size,
)

# What the views differ in, clusters disregard: leave out jitter and grey (jitter=None) where colour
# tells things apart, flip where left and right do. The values are SimCLR's.
view = dict(
    crop=dict(type='BatchRandomResizedCrop', size=image_size, scale=(0.08, 1.0)),
    flip=dict(type='BatchRandomHorizontalFlip'),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
)
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    views=dict(view1=view, view2=view),
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=True,  # LoadImage gives BGR
)

resize = dict(type='Resize', scale=(image_size, image_size), backend='pillow')
train_pipeline = [
    dict(type='LoadImage', on_error='skip', min_side=2 * image_size),
    resize,
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage', on_error='blank', min_side=2 * image_size),
    resize,
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
        type='ImageFolder',
        data_root=data_root,
        data_prefix=train_prefix,
        with_label=False,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers // 2,
    persistent_workers=num_workers > 1,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageFolder', data_root=data_root, data_prefix=test_prefix, pipeline=test_pipeline
    ),
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
auto_scale_lr = dict(base_batch_size=512)
