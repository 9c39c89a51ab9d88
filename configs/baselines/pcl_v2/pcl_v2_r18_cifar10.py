# PCL v2 on CIFAR-10: mocov2_r18_cifar10.py and its contrast with prototypes. For the number of the
# images there are as many as on ImageNet: one for 50, for 25 and for 13 of them.
_base_ = '../mocov2/mocov2_r18_cifar10.py'

temperature = 0.2

model = dict(
    type='PCL',
    head=dict(temperature=temperature),
    num_prototypes=(1000, 2000, 4000),
    temperature=temperature,
)
custom_hooks = [dict(type='FeatureClustersHook', warmup=0.1)]
