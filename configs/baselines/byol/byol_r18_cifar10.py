# BYOL on CIFAR-10: mmpretrain's, with data and schedule of mocov2_r18_cifar10.py. mmpretrain's loss
# is the paper's, 2 - 2 cos for each direction, without its constant.
_base_ = '../../_base_/pretext_r18_cifar10.py'

mlp = dict(
    type='NonLinearNeck',
    hid_channels=1024,
    out_channels=128,
    with_bias=True,
    with_last_bias=True,
    with_last_bn=False,
    norm_cfg=dict(type='BN1d'),
)
model = dict(
    type='BYOL',
    neck=dict(in_channels=512, **mlp),
    head=dict(
        type='LatentPredictHead',
        loss=dict(type='CosineSimilarityLoss'),
        predictor=dict(in_channels=128, with_avg_pool=False, **mlp),
    ),
    base_momentum=0.01,  # of the newest weights; falls to 0 along a cosine
)
