# linear_r18_cifar10.py on the folder of image files that cdc_r18_cifar10_folder.py reads.
_base_ = 'linear_r18_cifar10.py'

data_root = 'data/cifar10_folder'
train_prefix = 'train'
test_prefix = 'test'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImage'), dict(type='PackInputs')]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        data_prefix=train_prefix,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        data_prefix=test_prefix,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
data_preprocessor = dict(to_rgb=True)  # LoadImage gives BGR
