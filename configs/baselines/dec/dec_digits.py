# DEC on the pixels of the digits: an autoencoder of the paper's widths, then the clusters. Adam in
# place of the paper's SGD and layer-wise pretraining, with a tenth of the learning rate for the
# clusters.
_base_ = ['../../_base_/datasets/digits_images.py', '../../_base_/rows_runtime.py']

num_clusters = 10
epochs = 100
pretrain_epochs = max(1, epochs * 3 // 5)
batch_size = 256
lr = 1e-3

model = dict(type='DEC', num_clusters=num_clusters, in_channels=64)
custom_hooks = [dict(type='FitRowsHook'), dict(type='DECHook', pretrain_epochs=pretrain_epochs)]
data_preprocessor = dict(type='MultiViewDataPreprocessor', views=dict(view1=dict()))
train_dataloader = dict(batch_size=batch_size)
val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
param_scheduler = [dict(type='MultiStepLR', milestones=[pretrain_epochs], by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=epochs))
randomness = dict(seed=0)
# Neither decoder nor centres are used all the time.
find_unused_parameters = True
