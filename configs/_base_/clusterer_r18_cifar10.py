# Clusterers on CIFAR-10, to compare with cdc_r18_cifar10.py: its network (with plain batch norm),
# its data and its schedule.
_base_ = ['datasets/cifar10.py', 'default_runtime.py']

epochs = 1200
batch_size = 512
lr = 6e-2

model = dict(backbone=dict(type='ResNet_CIFAR', depth=18, zero_init_residual=False))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
