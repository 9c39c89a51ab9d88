# A denoising autoencoder on the digits: ae_digits.py with masked pixels.
_base_ = '../ae/ae_digits.py'

model = dict(type='DenoisingAutoEncoder', mask_share=0.25)
