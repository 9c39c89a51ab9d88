# Handwritten digits of 8x8 pixels. The views differ in what does not change a digit: small affine
# maps, the strength and the width of the stroke. Without the latter two, clusters form by them.
view = [
    dict(
        type='kornia/RandomAffine',
        degrees=20,
        translate=(0.12, 0.12),
        scale=(0.75, 1.25, 0.75, 1.25),
        shear=20,
        p=1.0,
    ),
    dict(type='kornia/RandomGamma', gamma=(0.35, 2.8), p=0.8),
    dict(type='kornia/RandomContrast', contrast=(0.5, 1.5), p=0.8),
    dict(type='kornia/RandomGaussianBlur', kernel_size=(3, 3), sigma=(0.1, 1.5), p=0.3),
]
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    num_views=2,
    transforms=[view],
    mean=[78.0],
    std=[96.0],
)

pipeline = [dict(type='PackInputs')]
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
