# SCAN on MoCo v3's frozen ResNet-50, full ImageNet: Table 2 of CDC's paper, whose authors used
# SCAN's code. As scan_r50_imagenet.py. Not measured here.
# Weights: r-50-1000ep.pth.tar of https://github.com/facebookresearch/moco-v3
_base_ = 'scan_r50_imagenet.py'

pretrained = 'checkpoints/r-50-1000ep.pth.tar'

model = dict(backbone=dict(weights=pretrained))
train_dataloader = dict(dataset=dict(encoder=dict(weights=pretrained)))
val_dataloader = dict(dataset=dict(encoder=dict(weights=pretrained)))
