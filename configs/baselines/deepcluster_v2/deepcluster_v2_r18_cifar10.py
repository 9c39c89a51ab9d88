# DeepCluster-v2 on CIFAR-10, with network, data and schedule of cdc_r18_cifar10.py and its own
# projection; two views, no multi-crop. Table 1's row is the first DeepCluster.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10

model = dict(
    type='DeepClusterV2',
    num_clusters=num_clusters,
    neck=dict(
        type='NonLinearNeck',
        hid_channels=2048,
        out_channels=128,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
)
custom_hooks = [dict(type='FeatureClustersHook')]
