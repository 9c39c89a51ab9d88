# A variational autoencoder on CIFAR-10, row "AEVB" of Table 1: ae_r18_cifar10.py with latents
# between encoder and decoder.
_base_ = '../ae/ae_r18_cifar10.py'

model = dict(
    type='VariationalAutoEncoder',
    neck=dict(type='GaussianNeck', in_channels=512, out_channels=128),
    decoder=dict(in_channels=128),
)
