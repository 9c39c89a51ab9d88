# ProPos on the digits, with network, data and schedule of cdc_digits.py.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(
    type='ProPos',
    num_clusters=num_clusters,
    neck=dict(
        type='NonLinearNeck',
        hid_channels=256,
        out_channels=64,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
    predictor=dict(
        type='NonLinearNeck',
        hid_channels=256,
        with_avg_pool=False,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN1d'),
    ),
    momentum=0.99,
)
custom_hooks = [dict(type='FeatureClustersHook', warmup=0.05)]
