# cdc_r18_cifar10.py on a copy of CIFAR-10 that is a folder of image files:
# data/cifar10_folder/{train,test}/<class>/*.jpg
_base_ = 'cdc_r18_cifar10.py'

data_root = 'data/cifar10_folder'

train_pipeline = [dict(type='LoadImage', on_error='skip'), dict(type='PackInputs')]
test_pipeline = [dict(type='LoadImage', on_error='blank'), dict(type='PackInputs')]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        data_prefix='train',
        with_label=False,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        data_prefix='test',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
data_preprocessor = dict(to_rgb=True)  # LoadImage gives BGR
