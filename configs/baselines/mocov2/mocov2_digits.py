# MoCo v2 on the digits, to compare with cdc_digits.py, with its network, data and schedule: see
# mocov2_r18_cifar10.py. Neither clips gradients.
_base_ = '../../_base_/pretext_digits.py'

temperature = 0.1

model = dict(
    type='MoCo',
    neck=dict(type='MoCoV2Neck', in_channels=128, hid_channels=256, out_channels=64),
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        temperature=temperature,
    ),
    queue_len=1024,
    feat_dim=64,
    momentum=0.01,
)
