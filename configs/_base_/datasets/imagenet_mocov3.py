# MoCo v3's augmentation: two views that differ in blur and solarisation. As in imagenet_mocov2.py
# the crop is made in the data workers, the rest for whole batches on the model's device.
_base_ = 'imagenet_mocov2.py'

colour = [
    dict(type='kornia/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='kornia/RandomGrayscale', p=0.2),
]
blur = dict(type='kornia/RandomGaussianBlur', kernel_size=(23, 23), sigma=(0.1, 2.0))
view1 = [*colour, dict(p=1.0, **blur)]
view2 = [
    *colour,
    dict(p=0.1, **blur),
    dict(type='kornia/RandomSolarize', thresholds=(0.5, 0.5), additions=(0.0, 0.0), p=0.2),
]
data_preprocessor = dict(num_views=[1, 1], transforms=[view1, view2])
train_dataloader = dict(batch_size=512)  # on each of 8 GPUs
