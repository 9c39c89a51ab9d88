# TEMI on the frozen features of a pretext on the digits; see temi_lite0_rows.py. A step is of a
# quarter of its images, and a quarter as long.
_base_ = ['../../_base_/datasets/digits_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
num_heads = 16
num_neighbors = 50
epochs = 100
warmup = max(1, epochs // 5)
batch_size = 256
lr = 1e-4

model = dict(
    type='TEMI', num_clusters=num_clusters, num_heads=num_heads, backbone={{_base_.encoder}}
)
train_dataloader = dict(batch_size=batch_size, dataset=dict(num_neighbors=num_neighbors))
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=1e-4))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=warmup,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=epochs))
randomness = dict(seed=0)
