# TURTLE with the settings of its paper: Adam with 1e-3 inside and outside, 10 steps of the
# classifier in each step. Batches are of 1,000 images, the paper's of 10,000; of 50,000 images
# these are its 6,000 steps.
_base_ = ['../../_base_/datasets/lite0_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
inner_steps = 10
inner_lr = 1e-3
entropy_weight = 10.0
epochs = 120
batch_size = 1000
lr = 1e-3

model = dict(
    type='TURTLE',
    num_clusters=num_clusters,
    inner_steps=inner_steps,
    inner_lr=inner_lr,
    entropy_weight=entropy_weight,
    backbone={{_base_.encoder}},
)
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(views=dict(_delete_=True, view1='image'))
)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
