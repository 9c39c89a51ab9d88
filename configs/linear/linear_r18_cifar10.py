# Linear classification on CIFAR-10 on the frozen backbone of cdc_r18_cifar10.py: the probe of the
# ablation (Table 6).
_base_ = ['../_base_/datasets/cifar10_images.py', '../_base_/linear_runtime.py']

num_classes = 10
epochs = 100
batch_size = 512
lr = 30.0

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, norm_cfg=dict(type='BN'), frozen_stages=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=512),
)
data_preprocessor = dict(type='ClsDataPreprocessor')

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=batch_size, drop_last=False, dataset=dict(pipeline=train_pipeline)
)
val_evaluator = dict(type='Accuracy')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
