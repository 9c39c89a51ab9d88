# A linear layer on VOC07, trained by binary cross-entropy, with the values of AdCo's code, which
# the paper follows (Table 3): lr 0.05, batch 16, cosine of half-period 12 over 100 epochs, images
# of 300 pixels. AdCo trains on train, picks the epoch by val, averages five crops, and its batch
# norm moves; here it is trainval, the last epoch, the centre crop, and nothing moves. Its metric is
# voc07/per_image_ap; the field's is the class mAP of linear SVMs (tools/eval_voc07_svm.py).
_base_ = ['../_base_/models/linear_r50.py', '../_base_/linear_runtime.py']

num_classes = 20
epochs = 100
lr = 0.05
batch_size = 16
num_workers = 4
half_period = 12
data_root = 'data/VOCdevkit/VOC2007'
image_size = 300

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(image_size, image_size), backend='pillow'),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='torchvision/ColorJitter', brightness=(0.8, 1.2))],
            [dict(type='torchvision/RandomGrayscale', p=0.25)],
        ],
    ),
    dict(type='torchvision/RandomRotation', degrees=25),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='RandomFlip', prob=0.25),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='ResizeEdge', scale=image_size * 11 // 10, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VOC07', data_root=data_root, split='trainval', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='VOC07', data_root=data_root, split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='VOC07Metric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator

model = dict(
    head=dict(
        _delete_=True,
        type='MultiLabelLinearClsHead',
        in_channels=2048,
        num_classes=num_classes,
        # AdCo sums the loss over the batch; this head divides the sum by the batch size.
        loss=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=float(batch_size)),
    ),
)
data_preprocessor = dict(
    mean=[116.622, 111.886, 103.872],
    std=[68.221, 67.273, 70.808],
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=half_period, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
