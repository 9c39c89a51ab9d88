# ProPos on CIFAR-10, with network, data and schedule of cdc_r18_cifar10.py; its own MLPs, momentum
# and warm-up (50 of 1,000 epochs). Its paper has a wider ResNet-18, and lr 0.05, ten times as much
# for the predictor.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10

model = dict(
    type='ProPos',
    num_clusters=num_clusters,
    neck=dict(
        type='NonLinearNeck',
        hid_channels=4096,
        out_channels=256,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
    predictor=dict(
        type='NonLinearNeck',
        hid_channels=4096,
        with_avg_pool=False,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
)
custom_hooks = [dict(type='FeatureClustersHook', warmup=0.05)]
