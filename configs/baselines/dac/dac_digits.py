# DAC on the digits, with network, data and schedule of cdc_digits.py. Images as they are: of
# strongly changed ones, an untrained network decides wrongly which are alike.
_base_ = '../../_base_/clusterer_digits.py'

num_clusters = 10

model = dict(type='DAC', num_clusters=num_clusters)
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))
