# A DCGAN on CIFAR-10, row "GAN" of Table 1: the discriminator's body is the network of
# cdc_r18_cifar10.py. Adam as DCGAN's.
_base_ = '../../_base_/pretext_r18_cifar10.py'

epochs = 100
batch_size = 128
lr = 2e-4

model = dict(
    type='DCGAN',
    generator=dict(type='ConvDecoder', in_channels=100, channels=(256, 128, 64), image_size=32),
    feat_dim=512,
)
# Images as they are.
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr, betas=(0.5, 0.999)))
param_scheduler = []
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=128)
