# Handwritten digits of 8x8 pixels. The views differ in what does not change a digit: small affine
# maps, the strength and the width of the stroke. Without the latter two, clusters form by them.
_base_ = 'digits_images.py'

view = dict(
    affine=dict(
        type='kornia/RandomAffine',
        degrees=20,
        translate=(0.12, 0.12),
        scale=(0.75, 1.25, 0.75, 1.25),
        shear=20,
        p=1.0,
    ),
    gamma=dict(type='kornia/RandomGamma', gamma=(0.35, 2.8), p=0.8),
    contrast=dict(type='kornia/RandomContrast', contrast=(0.5, 1.5), p=0.8),
    blur=dict(type='kornia/RandomGaussianBlur', kernel_size=(3, 3), sigma=(0.1, 1.5), p=0.3),
)
data_preprocessor = dict(type='MultiViewDataPreprocessor', views=dict(view1=view, view2=view))

val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
