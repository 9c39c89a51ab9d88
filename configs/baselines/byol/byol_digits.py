# BYOL on the digits: mmpretrain's, with network, data and schedule of mocov2_digits.py.
_base_ = '../../_base_/pretext_digits.py'

mlp = dict(
    type='NonLinearNeck',
    hid_channels=256,
    out_channels=64,
    with_bias=True,
    with_last_bias=True,
    with_last_bn=False,
    norm_cfg=dict(type='BN1d'),
)
model = dict(
    type='BYOL',
    neck=dict(in_channels=128, **mlp),
    head=dict(
        type='LatentPredictHead',
        loss=dict(type='CosineSimilarityLoss'),
        predictor=dict(in_channels=64, with_avg_pool=False, **mlp),
    ),
    base_momentum=0.01,  # of the newest weights; falls to 0 along a cosine
)
