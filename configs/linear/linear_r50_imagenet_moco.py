# Linear classification on ImageNet with MoCo's protocol.
_base_ = [
    '../_base_/models/linear_r50.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/linear_runtime.py',
]

num_classes = 1000
epochs = 100
batch_size = 32  # on each of 8 GPUs
lr = 30.0

model = dict(head=dict(num_classes=num_classes))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0))
param_scheduler = [
    dict(
        type='MultiStepLR',
        milestones=[epochs * 3 // 5, epochs * 4 // 5],
        gamma=0.1,
        by_epoch=True,
    )
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=5)
auto_scale_lr = dict(base_batch_size=256)
