# SwAV on the digits: mmpretrain's, but for the loss (see SwappedPredictionLoss), with network, data
# and schedule of mocov2_digits.py: two views of one size, no queue.
_base_ = '../../_base_/pretext_digits.py'

temperature = 0.1
num_prototypes = 100

model = dict(
    type='SwAV',
    neck=dict(
        type='SwAVNeck',
        in_channels=128,
        hid_channels=256,
        out_channels=64,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(
        type='SwAVHead',
        loss=dict(
            type='SwappedPredictionLoss',
            feat_dim=64,
            num_prototypes=num_prototypes,
            temperature=temperature,
        ),
    ),
)
