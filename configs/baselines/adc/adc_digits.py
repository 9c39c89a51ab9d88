# ADC on the digits, with network, data and schedule of cdc_digits.py.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(type='ADC', num_clusters=num_clusters)
