# MoCo v2 in place of CDC, for comparison (Table 7, Figure 4): one z, no clusters. The model is
# mmpretrain's, with backbone, data and schedule of cdc_r18_cifar10.py and temperature 0.1 as in
# Lightly's benchmark, which the paper builds on. It differs from CDC in more than the clusters:
# - its loss goes one way, from view 1 to the keys of view 2; CDC's is the mean of both ways, as in
#   that benchmark, so that CDC uses each image twice as often;
# - its gradients are not clipped: clipping mends the first steps of CDC's cross-entropy, which is
#   not there, and the benchmark has none. Not measured on CIFAR-10.
_base_ = ['../../_base_/datasets/cifar10.py', '../../_base_/runtime.py']

epochs = 1200
batch_size = 512
lr = 6e-2
temperature = 0.1

model = dict(
    type='MoCo',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        zero_init_residual=False,
        norm_cfg=dict(type='SplitBN', num_splits=8),
    ),
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
data_preprocessor = dict(named=False)
train_dataloader = dict(batch_size=batch_size)
# Without clusters there is nothing to validate; test_dataloader serves the analysis tools.
val_dataloader = None
val_evaluator = None

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
