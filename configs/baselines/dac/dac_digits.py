# DAC on the digits, with network, data and schedule of cdc_digits.py; one view.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(type='DAC', num_clusters=num_clusters)
data_preprocessor = dict(views=dict(view2=None))
