# Handwritten digits of 8x8 pixels, enlarged to 16x16. Augmented by small affine maps: no flips and
# no colours, which would change what a digit is.
view = [
    dict(
        type='kornia/RandomAffine',
        degrees=15,
        translate=(0.1, 0.1),
        scale=(0.8, 1.2),
        shear=10,
        p=1.0,
    )
]
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    num_views=2,
    transforms=[view],
    mean=[78.0],
    std=[96.0],
)

pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='Digits', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=360,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='Digits', split='test', pipeline=pipeline),
)
val_evaluator = dict(type='ClusteringMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
