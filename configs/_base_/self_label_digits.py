# The two views of self-labelling on the digits: the weak one is the image itself, the strong one
# has larger affine maps than CDC's views, and cutout.
weak_view = dict()
strong_view = dict(
    affine=dict(
        type='kornia/RandomAffine',
        degrees=25,
        translate=(0.15, 0.15),
        scale=(0.65, 1.35, 0.65, 1.35),
        shear=25,
        p=1.0,
    ),
    gamma=dict(type='kornia/RandomGamma', gamma=(0.35, 2.8), p=0.8),
    contrast=dict(type='kornia/RandomContrast', contrast=(0.5, 1.5), p=0.8),
    blur=dict(type='kornia/RandomGaussianBlur', kernel_size=(3, 3), sigma=(0.1, 1.5), p=0.3),
    cutout=dict(type='kornia/RandomErasing', scale=(0.02, 0.15), ratio=(1.0, 1.0), p=1.0),
)
