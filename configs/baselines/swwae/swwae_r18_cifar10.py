# A what-where autoencoder on CIFAR-10, row "SWWAE" of Table 1, with data and schedule of
# ae_r18_cifar10.py. Called as the others are, it has another network: one that pools, which a
# ResNet-18 for images of 32 pixels does not.
_base_ = '../ae/ae_r18_cifar10.py'

model = dict(
    _delete_=True,
    type='SWWAE',
    backbone=dict(
        type='PoolingConvNet',
        channels=(64, 128, 128, 256, 256, 512),
        strides=(1, 2, 1, 2, 1, 2),
    ),
    middle_weight=0.2,
)
