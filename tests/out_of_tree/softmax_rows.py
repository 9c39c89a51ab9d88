# The same clusterer on stored rows of a frozen encoder: only the model's encoder and the training
# data differ. It is tested on images.
_base_ = 'softmax_digits.py'

store_dir = 'features'
weights = 'pretrained.pth'

encoder = dict(
    type='Encoder',
    backbone=_base_.backbone,
    freeze=True,
    weights=weights,
    mean=[78.0],
    std=[96.0],
    input_size=8,
)
model = dict(backbone=dict(_delete_=True, **encoder))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='FeatureDataset',
        dataset=dict(type='Digits', split='train', pipeline=[dict(type='PackInputs')]),
        encoder=encoder,
        views=dict(view1='image', view2='neighbor'),
        num_neighbors=5,
        num_workers=0,
        store_dir=store_dir,
    )
)
