# A DCGAN on the digits: the discriminator's body is the network of cdc_digits.py. Adam as DCGAN's.
_base_ = '../../_base_/pretext_digits.py'

lr = 2e-4

model = dict(
    type='DCGAN',
    generator=dict(
        type='ConvDecoder', in_channels=100, channels=(128, 64, 32), image_size=8, out_channels=1
    ),
    feat_dim=128,
)
# Images as they are.
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))

optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=lr, betas=(0.5, 0.999)))
param_scheduler = []
