# Linear classifier on a frozen ResNet-50. The classifier's weights start as N(0, 0.01), MoCo's.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), frozen_stages=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=2048, topk=(1, 5)),
)
data_preprocessor = dict(
    type='ClsDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
