# DEC on rows: an autoencoder of the paper's widths, then the clusters. Adam in place of the paper's
# SGD and layer-wise pretraining, with a tenth of the learning rate for the clusters.
_base_ = ['../../_base_/datasets/lite0_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
epochs = 40
pretrain_epochs = max(1, epochs // 2)
batch_size = 256
lr = 1e-3

model = dict(type='DEC', num_clusters=num_clusters, backbone={{_base_.encoder}})
custom_hooks = [dict(type='FitRowsHook'), dict(type='DECHook', pretrain_epochs=pretrain_epochs)]
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(views=dict(_delete_=True, view1='image'))
)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
param_scheduler = [dict(type='MultiStepLR', milestones=[pretrain_epochs], by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
# Neither decoder nor centres are used all the time.
find_unused_parameters = True
