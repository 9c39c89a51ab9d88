# CDC on the full ImageNet on top of MoCo v3's ResNet-50 (1000 epochs), which stays frozen: Table 2
# and Figure 2. The paper: two MLP heads for 200 epochs in MoCo v3's settings, LARS with lr 0.3,
# weight decay 1e-6, momentum 0.9. MoCo v3's lr is for 256 images: 4.8 for its batch of 4096. tau
# and alpha are the paper's for ImageNet, which it gives for the subsets; t is that of Figure 2.
# Weights: r-50-1000ep.pth.tar of https://github.com/facebookresearch/moco-v3
_base_ = ['_base_/datasets/imagenet_mocov3.py', '_base_/default_runtime.py']

num_clusters = 1000
epochs = 200
warmup = max(1, epochs // 20)  # 10 epochs
batch_size = 512  # on each of 8 GPUs
lr = 4.8
tau = 0.40
t = 0.10
alpha = 1.0
load_from = 'checkpoints/r-50-1000ep.pth.tar'

mlp = dict(type='NonLinearNeck', hid_channels=4096, norm_cfg=dict(type='SyncBN'))
model = dict(
    type='CDCMoCoV3',
    backbone=dict(type='ResNet', depth=50, frozen_stages=4),
    neck=dict(in_channels=2048, with_last_bn_affine=False, **mlp),
    predictor=dict(with_avg_pool=False, with_last_bn=False, **mlp),
    head=dict(
        type='CDCHead',
        num_clusters=num_clusters,
        instance_dim=256,
        tau=tau,
        t=t,
        alpha=alpha,
    ),
    momentum=0.99,
)
custom_hooks = [dict(type='PretrainedBackboneHook')]

train_dataloader = dict(batch_size=batch_size)
no_adaptation = dict(decay_mult=0.0, lars_exclude=True)
optim_wrapper = dict(
    optimizer=dict(type='ForeachLARS', lr=lr, momentum=0.9, weight_decay=1e-6),
    paramwise_cfg=dict(custom_keys=dict(bn=no_adaptation, bias=no_adaptation)),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=warmup,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=max(1, epochs - warmup),
        by_epoch=True,
        begin=warmup,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=4096)
