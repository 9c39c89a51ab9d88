# SCAN's last step, self-labelling: the whole network learns from what the head of least loss is
# sure of, at SCAN's threshold. It starts from a checkpoint of scan_digits.py.
_base_ = [
    '../../_base_/datasets/digits_images.py',
    '../../_base_/self_label_digits.py',
    '../../_base_/default_runtime.py',
]

num_clusters = 10
num_heads = 10
epochs = 40
batch_size = 256
lr = 1e-4
threshold = 0.99
load_from = 'work_dirs/scan_digits/epoch_100.pth'

model = dict(
    type='SelfLabel',
    clusterer=dict(
        type='SCAN',
        num_clusters=num_clusters,
        num_heads=num_heads,
        backbone=dict(
            type='SmallConvNet', in_channels=1, channels=(32, 64, 128, 128), strides=(1, 2, 2, 2)
        ),
    ),
    loss=dict(type='SelfLabelLoss', threshold=threshold),
)
data_preprocessor = dict(
    type='MultiViewDataPreprocessor',
    views=dict(weak=_base_.weak_view, strong=_base_.strong_view),
)
custom_hooks = [dict(type='SelfLabelHook', finetune=True)]

train_dataloader = dict(batch_size=batch_size)
val_evaluator = dict(type='ClusteringMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='Adam', lr=lr, weight_decay=1e-4))
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=10))
randomness = dict(seed=0)
