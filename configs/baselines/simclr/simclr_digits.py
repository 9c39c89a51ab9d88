# SimCLR on the digits: mmpretrain's, with network, data and schedule of mocov2_digits.py.
_base_ = '../../_base_/pretext_digits.py'

temperature = 0.1

model = dict(
    type='SimCLR',
    neck=dict(
        type='NonLinearNeck',
        in_channels=128,
        hid_channels=256,
        out_channels=64,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=temperature),
)
