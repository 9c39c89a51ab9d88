# Pretexts on CIFAR-10, to compare with cdc_r18_cifar10.py: its network (with plain batch norm), its
# data and its schedule. Without clusters there is nothing to validate; test_dataloader serves the
# tools that judge features.
_base_ = ['datasets/cifar10.py', 'runtime.py']

epochs = 1200
batch_size = 512
lr = 6e-2

model = dict(backbone=dict(type='ResNet_CIFAR', depth=18, zero_init_residual=False))
data_preprocessor = dict(named=False)
train_dataloader = dict(batch_size=batch_size)
val_dataloader = None
val_evaluator = None

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
