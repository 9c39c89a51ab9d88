# MoCo v3 on CIFAR-10: mmpretrain's, with data and schedule of mocov2_r18_cifar10.py.
_base_ = '../../_base_/pretext_r18_cifar10.py'

temperature = 0.2

mlp = dict(type='NonLinearNeck', hid_channels=512, out_channels=128, norm_cfg=dict(type='BN1d'))
model = dict(
    type='MoCoV3',
    neck=dict(in_channels=512, with_last_bn_affine=False, **mlp),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(in_channels=128, with_avg_pool=False, with_last_bn=False, **mlp),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature,
    ),
    base_momentum=0.01,  # of the newest weights; falls to 0 along a cosine
)
