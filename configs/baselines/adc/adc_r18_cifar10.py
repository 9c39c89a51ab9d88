# ADC on CIFAR-10 (Table 1), with network, data and schedule of cdc_r18_cifar10.py, and Adam.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10
lr = 1e-3

model = dict(type='ADC', num_clusters=num_clusters)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr))
