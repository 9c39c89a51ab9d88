# CIFAR-10 without views: for linear classification.
data_root = 'data/cifar10'
batch_size = 512
num_workers = 4

data_preprocessor = dict(
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # CIFAR10 gives RGB
)

pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CIFAR10Files', data_root=data_root, split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers // 2,
    persistent_workers=num_workers > 1,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CIFAR10Files', data_root=data_root, split='test', pipeline=pipeline),
)
test_dataloader = val_dataloader
