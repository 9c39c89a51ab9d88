# Row "Supervised" of Table 1: not a rival but an upper bound, which learns from the labels. A
# classifier with network (plain batch norm), data, augmentation and schedule of cdc_r18_cifar10.py.
# Its classes are evaluated as clusters are.
_base_ = ['../../_base_/datasets/cifar10.py', '../../_base_/runtime.py']

num_classes = 10
epochs = 1200
batch_size = 512
lr = 6e-2

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=512),
)
data_preprocessor = dict(type='LabelledDataPreprocessor', views=dict(view2=None))
train_dataloader = dict(batch_size=batch_size)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
