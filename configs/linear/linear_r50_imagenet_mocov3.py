# Linear classification on ImageNet with MoCo v3's protocol, for backbones trained in its setting.
_base_ = 'linear_r50_imagenet_moco.py'

epochs = 90
batch_size = 128  # on each of 8 GPUs
lr = 0.4  # of all 1024 images: 0.1 for 256

optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
train_dataloader = dict(batch_size=batch_size)
auto_scale_lr = dict(base_batch_size=1024)
