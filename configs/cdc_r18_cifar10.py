# CDC on CIFAR-10 from scratch: the recipe of Table 1, row "CDC" (section 3.1).
_base_ = [
    '_base_/models/cdc_r18.py',
    '_base_/datasets/cifar10.py',
    '_base_/default_runtime.py',
]

num_clusters = 10
epochs = 1200
batch_size = 512
lr = 6e-2

model = dict(head=dict(num_clusters=num_clusters))
train_dataloader = dict(batch_size=batch_size)

# Without clipping, the first gradients of the cross-entropy (alpha / t = 50) throw the network into
# one point, and it does not come back (docs/results.md). The paper says nothing of it.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4, fused=True),
    clip_grad=dict(max_norm=1.0),
)
# The paper is silent on the schedule; cosine by epoch without warm-up is Lightly's.
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
