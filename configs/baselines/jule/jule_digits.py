# JULE on the digits, with network, data and schedule of cdc_digits.py.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(type='JULE', num_clusters=num_clusters)
custom_hooks = [dict(type='AgglomerateHook')]
