# Linear classification on ImageNet with MoCo v3's protocol, for backbones trained in its setting.
_base_ = 'linear_r50_imagenet_moco.py'

epochs = 90
base_lr = 0.1  # for 256 images

optim_wrapper = dict(optimizer=dict(lr=base_lr * 1024 / 256))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
train_dataloader = dict(batch_size=128)  # on each of 8 GPUs
auto_scale_lr = dict(base_batch_size=1024)
