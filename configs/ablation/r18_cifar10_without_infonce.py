# Table 6, without InfoNCE: only the cross-entropy trains.
_base_ = '../cdc_r18_cifar10.py'

model = dict(head=dict(loss=dict(type='CDCLoss', infonce_weight=0.0)))
