# A variational autoencoder on the digits: ae_digits.py with latents between encoder and decoder.
_base_ = '../ae/ae_digits.py'

model = dict(
    type='VariationalAutoEncoder',
    neck=dict(type='GaussianNeck', in_channels=128, out_channels=32),
    decoder=dict(in_channels=32),
)
