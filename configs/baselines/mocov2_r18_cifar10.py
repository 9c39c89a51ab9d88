# MoCo v2 in place of CDC, for comparison (Table 7, Figure 4): one z, no clusters. The model is
# mmpretrain's, with backbone, data and schedule of cdc_r18_cifar10.py and temperature 0.1 as in
# Lightly's benchmark, which the paper builds on. Unlike there, the loss is not symmetric.
_base_ = '../cdc_r18_cifar10.py'

model = dict(
    _delete_=True,
    type='MoCo',
    backbone={{_base_.model.backbone}},
    neck=dict(type='MoCoV2Neck', in_channels=512, hid_channels=512, out_channels=128),
    head=dict(
        type='ContrastiveHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0), temperature=0.1
    ),
    queue_len=4096,
    feat_dim=128,
    momentum=0.01,  # what mmpretrain calls momentum is 1 - m
)
# Without clusters there is nothing to validate; test_dataloader serves the analysis tools.
val_dataloader = None
val_evaluator = None
val_cfg = None
