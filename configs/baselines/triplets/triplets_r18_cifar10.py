# A metric from relative comparisons on CIFAR-10, row "Triplets" of Table 1, with data and schedule
# of mocov2_r18_cifar10.py.
_base_ = '../../_base_/pretext_r18_cifar10.py'

model = dict(type='Triplets', neck=dict(type='DiagonalMetric', in_channels=512))
