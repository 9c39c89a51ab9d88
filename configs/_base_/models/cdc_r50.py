# ResNet-50 in MoCo v2's setting. Batch norm is each GPU's own, with shuffle BN over the GPUs; on
# one GPU use norm_cfg=dict(type='SplitBN', num_splits=8), which does the same within its batch.
tau = 0.40
t = 0.20
alpha = 1.0

model = dict(
    type='CDC',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048),
    head=dict(type='CDCHead', instance_dim=256, tau=tau, t=t, alpha=alpha),
    queue_size=65536,
    momentum=0.999,
    symmetric=False,
)
