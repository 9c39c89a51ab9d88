# Clusters of a folder of photographs on a laptop: SCAN's heads on the principal components of the
# rows of a pretrained network; those of least loss predict together. Each image passes the network
# once; from then on an epoch takes a part of a second. Set data_root and num_clusters.
_base_ = ['../_base_/datasets/lite0_rows.py', '../_base_/default_runtime.py']

num_clusters = 10
num_heads = 64
num_components = 128
epochs = 50
batch_size = 1000
lr = 1e-1

model = dict(
    type='SCAN',
    num_clusters=num_clusters,
    num_heads=num_heads,
    num_components=num_components,
    backbone={{_base_.encoder}},
)
custom_hooks = [dict(type='FitRowsHook'), dict(type='ConsensusHook')]

train_dataloader = dict(batch_size=batch_size)
val_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
