# Contrastive clustering on CIFAR-10, with network, data and schedule of cdc_r18_cifar10.py. In its
# paper: a ResNet-34 on images of 224 pixels, batches of 256, Adam with lr 3e-4, 1,000 epochs.
_base_ = '../../_base_/clusterer_r18_cifar10.py'

num_clusters = 10
lr = 3e-4

model = dict(type='ContrastiveClustering', num_clusters=num_clusters)
# The paper's optimiser.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr))
