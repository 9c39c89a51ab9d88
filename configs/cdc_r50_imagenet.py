# CDC on ImageNet from scratch with ResNet-50: the recipe of section 3.4 (Tables 3 to 5), 8 GPUs of
# 32 images each. tau, t and alpha are the paper's for ImageNet (section 3.1, there given for the
# subsets). K = 1000 exceeds the batch of 256: the assigner tops the batch up from the queue.
_base_ = [
    '_base_/models/cdc_r50.py',
    '_base_/datasets/imagenet_mocov2.py',
    '_base_/default_runtime.py',
]

num_clusters = 1000
epochs = 200
batch_size = 32  # on each of 8 GPUs
lr = 0.03  # of all 256 images

model = dict(head=dict(num_clusters=num_clusters))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)
