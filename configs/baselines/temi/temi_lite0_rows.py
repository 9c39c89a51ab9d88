# TEMI with the settings of its code for CIFAR-10: AdamW with 1e-4 for 256 images after a warm-up,
# 50 neighbours. Its 100 epochs were of 50,000 images; of fewer images take more of them.
_base_ = ['../../_base_/datasets/lite0_rows.py', '../../_base_/rows_runtime.py']

num_clusters = 10
num_heads = 16
num_neighbors = 50
epochs = 100
warmup = max(1, epochs // 5)
batch_size = 1000
lr = 4e-4

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
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
