# Linear classifier on the frozen backbone of cdc_digits.py, with the ablation's probe of CIFAR-10
# (linear_r18_cifar10.py): SGD, lr 30, cosine over 100 epochs. No flip: it changes a digit.
_base_ = ['../_base_/datasets/digits_images.py', '../_base_/linear_runtime.py']

num_classes = 10
epochs = 100
batch_size = 128
lr = 30.0

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SmallConvNet',
        in_channels=1,
        channels=(32, 64, 128, 128),
        strides=(1, 2, 2, 2),
        frozen_stages=4,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=128),
)
data_preprocessor = dict(type='ClsDataPreprocessor')

# Padding of an eighth, as 4 of 32.
train_pipeline = [dict(type='RandomCrop', crop_size=8, padding=1), dict(type='PackInputs')]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(type='Accuracy')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=50))
randomness = dict(seed=0)
