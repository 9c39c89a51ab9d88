# Trains the network of scan_lite0.py, too, from where its clusters are: confident clusters of
# images are labels of strong views of them (self-labelling). It sees each image three times in an
# epoch, forwards and once backwards: for those with a GPU or patience. --finetune of
# tools/cluster.py runs it; by itself it goes on from a checkpoint of scan_lite0.py.
_base_ = './scan_lite0.py'

num_clusters = 10
num_heads = 32
num_components = 128
epochs = 5
batch_size = 64
lr = 1e-4
threshold = 0.9  # heads that vote together are seldom surer
load_from = 'work_dirs/scan_lite0/epoch_50.pth'

model = dict(
    _delete_=True,
    type='SelfLabel',
    clusterer=dict(
        type='SCAN',
        num_clusters=num_clusters,
        num_heads=num_heads,
        num_components=num_components,
        backbone=dict(type='EfficientNetLite', variant=0),
    ),
    loss=dict(type='SelfLabelLoss', threshold=threshold),
)
size = (_base_.image_size, _base_.image_size)
strong_view = dict(
    flip=dict(type='kornia/RandomHorizontalFlip'),
    crop=dict(type='kornia/RandomResizedCrop', size=size, scale=(0.5, 1.0)),
    jitter=dict(
        type='kornia/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='kornia/RandomGrayscale', p=0.2),
    cutout=dict(type='kornia/RandomErasing', scale=(0.02, 0.15), ratio=(1.0, 1.0), p=1.0),
)
data_preprocessor = dict(views=dict(weak=dict(), strong=strong_view))
custom_hooks = [dict(type='SelfLabelHook', finetune=True)]

train_images = dict(
    type='ImageFolder',
    data_root=_base_.data_root,
    data_prefix=_base_.train_prefix,
    pipeline=[dict(_base_.pipeline[0], on_error='skip'), *_base_.pipeline[1:]],
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    persistent_workers=_base_.num_workers > 0,
    drop_last=True,
    dataset=dict(_delete_=True, **train_images),
)
val_dataloader = _base_.test_dataloader
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=1e-4))
param_scheduler = []
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
