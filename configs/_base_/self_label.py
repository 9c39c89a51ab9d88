# The two views of self-labelling, after SCAN, for images of 32 pixels; for configs/selflabel/. The
# weak view is the image as evaluation sees it. The strong one: flip, crop, on average 4 of
# RandAugment's 14 operations (one is the identity), then cutout; each image draws its own.
op = dict(p=4 / 14)
weak_view = dict()
strong_view = dict(
    flip=dict(type='kornia/RandomHorizontalFlip'),
    crop=dict(type='kornia/RandomCrop', size=(32, 32), padding=4),
    auto_contrast=dict(type='kornia/RandomAutoContrast', **op),
    equalize=dict(type='kornia/RandomEqualize', **op),
    rotate=dict(type='kornia/RandomRotation', degrees=30.0, **op),
    solarize=dict(type='kornia/RandomSolarize', thresholds=(0.0, 0.5), additions=0.0, **op),
    saturation=dict(type='kornia/RandomSaturation', saturation=(0.05, 1.95), **op),
    contrast=dict(type='kornia/RandomContrast', contrast=(0.05, 1.95), **op),
    brightness=dict(type='kornia/RandomBrightness', brightness=(0.05, 1.95), **op),
    sharpness=dict(type='kornia/RandomSharpness', sharpness=(0.05, 1.95), **op),
    posterize=dict(type='kornia/RandomPosterize', bits=(4, 8), **op),
    shear_x=dict(type='kornia/RandomAffine', degrees=0.0, shear=(-5.0, 5.0, 0.0, 0.0), **op),
    shear_y=dict(type='kornia/RandomAffine', degrees=0.0, shear=(0.0, 0.0, -5.0, 5.0), **op),
    translate_x=dict(type='kornia/RandomAffine', degrees=0.0, translate=(0.1, 0.0), **op),
    translate_y=dict(type='kornia/RandomAffine', degrees=0.0, translate=(0.0, 0.1), **op),
    cutout=dict(type='kornia/RandomErasing', scale=(0.001, 0.25), ratio=(1.0, 1.0), p=1.0),
)
