# MoCo v2 on the digits, to compare with cdc_digits.py: see mocov2_r18_cifar10.py.
_base_ = '../cdc_digits.py'

model = dict(
    _delete_=True,
    type='MoCo',
    backbone={{_base_.model.backbone}},
    neck=dict(type='MoCoV2Neck', in_channels=128, hid_channels=256, out_channels=64),
    head=dict(
        type='ContrastiveHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0), temperature=0.1
    ),
    queue_len=1024,
    feat_dim=64,
    momentum=0.01,
)
val_dataloader = None
val_evaluator = None
val_cfg = None
