# MoCo v2 in place of CDC, for comparison (Table 7, Figure 4): one z, no clusters. The model is
# mmpretrain's, with backbone, data and schedule of cdc_r18_cifar10.py and temperature 0.1 as in
# Lightly's benchmark, which the paper builds on. It differs from CDC in more than the clusters:
# - its loss goes one way, from view 1 to the keys of view 2; CDC's is the mean of both ways, as in
#   that benchmark, so that CDC uses each image twice as often;
# - its gradients are not clipped: clipping mends the first steps of CDC's cross-entropy, which is
#   not there, and the benchmark has none. Not measured on CIFAR-10.
_base_ = '../../_base_/pretext_r18_cifar10.py'

temperature = 0.1

model = dict(
    type='MoCo',
    backbone=dict(norm_cfg=dict(type='SplitBN', num_splits=8)),
    neck=dict(type='MoCoV2Neck', in_channels=512, hid_channels=512, out_channels=128),
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        temperature=temperature,
    ),
    queue_len=4096,
    feat_dim=128,
    momentum=0.01,  # what mmpretrain calls momentum is 1 - m
)
