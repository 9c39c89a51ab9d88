# Clusterers on the digits, to compare with cdc_digits.py: its network, data and schedule.
_base_ = ['datasets/digits.py', 'default_runtime.py']

epochs = 160
batch_size = 128
lr = 3e-3

model = dict(
    backbone=dict(
        type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 128), strides=(1, 2, 2, 2)
    )
)
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
randomness = dict(seed=0)
