# PCL v2 on the digits: mocov2_digits.py and its contrast with prototypes.
_base_ = '../mocov2/mocov2_digits.py'

temperature = 0.2

model = dict(
    type='PCL',
    head=dict(temperature=temperature),
    num_prototypes=(25, 50, 100),
    temperature=temperature,
)
custom_hooks = [dict(type='FeatureClustersHook', warmup=0.1)]
