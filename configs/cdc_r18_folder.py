# CDC on a folder of your own photographs, from scratch: set data_root and num_clusters. Images may
# have any size and lie at any depth. Clusters are found in all of them, so they are also what is
# evaluated; labels, if there are class folders, are only compared with the clusters.
_base_ = [
    '_base_/models/cdc_r18.py',
    '_base_/datasets/imagenet_mocov2.py',
    '_base_/default_runtime.py',
]

data_root = 'data/images'
num_clusters = 10
image_size = 128
epochs = 400
batch_size = 256
lr = 0.03  # of a batch of 256: the CIFAR-10 recipe's 0.06 for 512

model = dict(
    backbone=dict(type='ResNet'),  # with the stem for photographs
    head=dict(num_clusters=num_clusters),
    queue_size=4096,  # at most the number of images, or they are their own negatives
)

# What the views differ in, clusters disregard: leave ColorJitter and RandomGrayscale out of `view`
# where colour tells things apart, RandomFlip where left and right do.
crop = _base_.crop
crop[0].scale = image_size
view = _base_.view
data_preprocessor = dict(transforms=[view])

train_pipeline = _base_.train_pipeline
train_pipeline[1].transforms = [crop]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size * 8 // 7
test_pipeline[2].crop_size = image_size

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        with_label=False,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(_delete_=True, type='ImageFolder', data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=1.0),  # as in cdc_r18_cifar10.py
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)
