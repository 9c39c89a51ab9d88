# VOC07 for linear SVMs on frozen features with PCL's protocol (tools/eval_voc07_svm.py): the centre
# 224 pixels of 256, normalised as in pretraining. Trains a linear layer as linear_r50_voc07.py does
# if given to tools/train.py.
_base_ = 'linear_r50_voc07.py'

eval_size = 224

test_pipeline = [
    dict(type='LoadImage'),
    dict(type='ResizeEdge', scale=eval_size * 8 // 7, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=eval_size),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
