# ResNet-18 for images of about 32 pixels, in the setting of Lightly's CIFAR-10 MoCo benchmark,
# which the paper builds on (section 3.1).
tau = 0.15
t = 0.10
alpha = 5.0

model = dict(
    type='CDC',
    backbone=dict(
        type='ResNet_CIFAR',  # 3x3 stem of stride 1, no max-pool
        depth=18,
        zero_init_residual=False,  # as torchvision and Lightly; mmpretrain's default is True
        norm_cfg=dict(type='SplitBN', num_splits=8),
    ),
    neck=dict(type='MoCoV2Neck', in_channels=512, hid_channels=512),  # ReLU, no BN
    head=dict(type='CDCHead', instance_dim=128, tau=tau, t=t, alpha=alpha),
    queue_size=4096,
    momentum=0.99,
    symmetric=True,
)
