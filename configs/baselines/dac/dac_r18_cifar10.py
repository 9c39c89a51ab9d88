# DAC on CIFAR-10 (Table 1), with network, data and schedule of cdc_r18_cifar10.py; images as they
# are. In its paper: a ConvNet of its own, RMSprop with lr 1e-3, batches of 32.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10
lr = 1e-3

model = dict(type='DAC', num_clusters=num_clusters)
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))
# The paper's optimiser.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='RMSprop', lr=lr))
