# SimCLR's augmentation without blur (section 3.1), made for whole batches on the model's device.
view = [
    dict(
        type='kornia/RandomResizedCrop',
        size=(32, 32),
        scale=(0.08, 1.0),
        cropping_mode='resample',
    ),
    dict(type='kornia/RandomHorizontalFlip'),
    dict(type='kornia/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
    dict(type='kornia/RandomGrayscale', p=0.2),
]
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    num_views=2,
    transforms=[view],
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # CIFAR10 gives RGB
)

pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=512,
    num_workers=4,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=512,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='test', pipeline=pipeline),
)
val_evaluator = dict(type='ClusteringMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
