# A denoising autoencoder on CIFAR-10, row "DAE" of Table 1: ae_r18_cifar10.py with masked pixels.
_base_ = '../ae/ae_r18_cifar10.py'

model = dict(type='DenoisingAutoEncoder', mask_share=0.25)
