# Handwritten digits of 8x8 pixels, which scikit-learn ships, without views: for linear
# classification.
batch_size = 128
num_workers = 0

data_preprocessor = dict(mean=[78.0], std=[96.0])

pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='Digits', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=360,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='Digits', split='test', pipeline=pipeline),
)
test_dataloader = val_dataloader
