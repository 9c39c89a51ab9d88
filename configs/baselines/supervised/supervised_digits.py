# Not a rival but an upper bound, which learns from the labels: a classifier with network, data,
# augmentation and schedule of cdc_digits.py. Its classes are evaluated as clusters are.
_base_ = ['../../_base_/datasets/digits.py', '../../_base_/runtime.py']

num_classes = 10
epochs = 160
batch_size = 128
lr = 3e-3

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 128), strides=(1, 2, 2, 2)
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=128),
)
data_preprocessor = dict(type='LabelledDataPreprocessor', views=dict(view2=None))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=5e-4, fused=True))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
randomness = dict(seed=0)
