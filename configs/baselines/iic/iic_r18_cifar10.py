# IIC on CIFAR-10 (Table 1), with network, data and schedule of cdc_r18_cifar10.py. Its paper has a
# ResNet-34 without the last stage, Sobel filters, and each image with five of its views in a batch.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10
lr = 1e-4

model = dict(type='IIC', num_clusters=num_clusters)
# The paper's optimiser.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr))
