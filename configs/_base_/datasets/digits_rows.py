# Handwritten digits by the rows of a pretext's frozen network, MoCo v2 by default; any pretext on
# the digits with this network will do: pretrained=CKPT. In training an item is the row of an image
# and of one of its nearest; evaluation is of images.
_base_ = 'digits_images.py'

pretrained = 'work_dirs/mocov2_digits/epoch_160.pth'
num_neighbors = 20
batch_size = 128
num_workers = 0
store_dir = 'work_dirs/features'

encoder = dict(
    type='Encoder',
    backbone=dict(
        type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 128), strides=(1, 2, 2, 2)
    ),
    freeze=True,
    weights=pretrained,
    mean=[78.0],
    std=[96.0],
    input_size=8,
)
data_preprocessor = dict(type='MultiViewDataPreprocessor')
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        type='FeatureDataset',
        dataset=dict(type='Digits', split='train', pipeline=[dict(type='PackInputs')]),
        encoder=encoder,
        views=dict(view1='image', neighbor='neighbor'),
        num_neighbors=num_neighbors,
        num_workers=num_workers,
        store_dir=store_dir,
    ),
)
val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
