# MoCo v3 on the digits: mmpretrain's, with network, data and schedule of mocov2_digits.py.
_base_ = '../../_base_/pretext_digits.py'

temperature = 0.2

mlp = dict(type='NonLinearNeck', hid_channels=256, out_channels=64, norm_cfg=dict(type='BN1d'))
model = dict(
    type='MoCoV3',
    neck=dict(in_channels=128, with_last_bn_affine=False, **mlp),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(in_channels=64, with_avg_pool=False, with_last_bn=False, **mlp),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature,
    ),
    base_momentum=0.01,  # of the newest weights; falls to 0 along a cosine
)
