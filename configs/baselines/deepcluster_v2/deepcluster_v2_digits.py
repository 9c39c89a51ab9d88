# DeepCluster-v2 on the digits, with network, data and schedule of cdc_digits.py; two views, no
# multi-crop: crops of 8 pixels show no digit.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(
    type='DeepClusterV2',
    num_clusters=num_clusters,
    neck=dict(
        type='NonLinearNeck',
        hid_channels=256,
        out_channels=64,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
)
custom_hooks = [dict(type='FeatureClustersHook')]
