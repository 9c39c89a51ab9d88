# A what-where autoencoder on the digits: as ae_digits.py, with an encoder that pools.
_base_ = '../../_base_/pretext_digits.py'

model = dict(type='SWWAE', backbone=dict(type='PoolingConvNet'), middle_weight=0.2)
# Images as they are.
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))
