# Not in the paper: each view is supervised by its own assignments instead of the other view's.
_base_ = '../cdc_r18_cifar10.py'

model = dict(head=dict(loss=dict(type='CDCLoss', swapped=False)))
