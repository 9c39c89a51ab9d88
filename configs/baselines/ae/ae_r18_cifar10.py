# An autoencoder on CIFAR-10, with the encoder of cdc_r18_cifar10.py, whose rows are the code: row
# "AE" of Table 1.
_base_ = '../../_base_/pretext_r18_cifar10.py'

epochs = 100
lr = 1e-3

model = dict(
    type='AutoEncoder',
    decoder=dict(type='ConvDecoder', in_channels=512, channels=(256, 128, 64), image_size=32),
)
# Images as they are.
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))

optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
