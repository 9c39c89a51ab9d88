# The user's clusterer on images, its encoder trained with it.
_base_ = ['../../configs/_base_/datasets/digits.py', '../../configs/_base_/default_runtime.py']

num_clusters = 10
epochs = 2
lr = 1e-3

custom_imports = dict(imports=['cdc_mm', 'softmax_clusterer'])
backbone = dict(type='SmallConvNet', in_channels=1, channels=(8, 16, 16, 32), strides=(1, 2, 2, 2))
model = dict(type='SoftmaxClusterer', num_clusters=num_clusters, feat_dim=32, backbone=backbone)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=1), collapse_watch=dict(interval=10, patience=0.5))
randomness = dict(seed=0)
