# SimCLR's augmentation without blur (section 3.1), made for whole batches on the model's device.
_base_ = 'cifar10_images.py'

view = dict(
    crop=dict(type='BatchRandomResizedCrop', size=32, scale=(0.08, 1.0)),
    flip=dict(type='BatchRandomHorizontalFlip'),
    jitter=dict(
        type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8
    ),
    grey=dict(type='BatchRandomGrayscale', p=0.2),
)
data_preprocessor = dict(type='MultiViewDataPreprocessor', views=dict(view1=view, view2=view))

val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
