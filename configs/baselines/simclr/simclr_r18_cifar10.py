# SimCLR on CIFAR-10, the pretext of Table 1's row "Pretext + K-means": mmpretrain's, with SimCLR's
# MLP and data and schedule of mocov2_r18_cifar10.py. For one GPU: on n ranks mmpretrain's gradients
# are 1 / n of what one process gets, which loss_weight=n would make up for.
_base_ = '../../_base_/pretext_r18_cifar10.py'

temperature = 0.1

model = dict(
    type='SimCLR',
    neck=dict(
        type='NonLinearNeck',
        in_channels=512,
        hid_channels=512,
        out_channels=128,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=temperature),
)
