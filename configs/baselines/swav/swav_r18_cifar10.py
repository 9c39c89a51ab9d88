# SwAV on CIFAR-10: mmpretrain's, but for the loss (see SwappedPredictionLoss), with data and
# schedule of mocov2_r18_cifar10.py: two views of one size, no queue.
_base_ = '../../_base_/pretext_r18_cifar10.py'

temperature = 0.1
num_prototypes = 100

model = dict(
    type='SwAV',
    neck=dict(
        type='SwAVNeck',
        in_channels=512,
        hid_channels=512,
        out_channels=128,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(
        type='SwAVHead',
        loss=dict(
            type='SwappedPredictionLoss',
            feat_dim=128,
            num_prototypes=num_prototypes,
            temperature=temperature,
        ),
    ),
)
