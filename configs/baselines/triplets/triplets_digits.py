# A metric from relative comparisons on the digits, with network, data and schedule of
# mocov2_digits.py.
_base_ = '../../_base_/pretext_digits.py'

model = dict(type='Triplets', neck=dict(type='DiagonalMetric', in_channels=128))
