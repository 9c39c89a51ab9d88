# Self-labelling of the quickstart's checkpoint: the weak view is the image itself, the strong one
# has larger affine maps than CDC's views, and cutout.
_base_ = '../cdc_digits.py'

epochs = 40
lr = 3e-4
threshold = 0.9  # the paper's 0.99 is out of reach for softmax(zc/t) at t = 0.2
load_from = 'work_dirs/cdc_digits/epoch_160.pth'

model = dict(
    _delete_=True,
    type='SelfLabel',
    clusterer={{_base_.model}},
    loss=dict(type='SelfLabelLoss', threshold=threshold),
)

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
data_preprocessor = dict(views=dict(view1=None, view2=None, weak=dict(), strong=strong_view))
custom_hooks = [dict(type='SelfLabelHook', finetune=True)]

optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = []
train_cfg = dict(max_epochs=epochs, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
