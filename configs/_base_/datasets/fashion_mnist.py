# Fashion-MNIST: grey photographs of clothes, 28x28 pixels, ten kinds. The views differ in crop,
# side and light.
data_root = 'data/fashion_mnist'
num_images = 10_000  # of the 60,000 to train on
batch_size = 256
num_workers = 0

view = dict(
    crop=dict(
        type='kornia/RandomResizedCrop',
        size=(28, 28),
        scale=(0.4, 1.0),
        cropping_mode='resample',
    ),
    flip=dict(type='kornia/RandomHorizontalFlip'),
    gamma=dict(type='kornia/RandomGamma', gamma=(0.5, 2.0), p=0.8),
    contrast=dict(type='kornia/RandomContrast', contrast=(0.5, 1.5), p=0.8),
)
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    mean=[72.94],
    std=[90.02],
    views=dict(view1=view, view2=view),
)

pipeline = [dict(type='PackInputs')]
images = dict(type='FashionMNISTFiles', data_root=data_root, pipeline=pipeline)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(indices=num_images, **images),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    # mmpretrain's class goes by test_mode alone, and warns where split says otherwise.
    dataset=dict(split='test', test_mode=True, **images),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
