# JULE on CIFAR-10 (Table 1), with network and data of cdc_r18_cifar10.py. Merging holds matrices
# of all pairs of its first clusters, about a third as many as images: on all 50,000 it was not run.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10
lr = 1e-2

model = dict(type='JULE', num_clusters=num_clusters)
custom_hooks = [dict(type='AgglomerateHook')]
# The learning rate of JULE's code.
optim_wrapper = dict(optimizer=dict(lr=lr))
