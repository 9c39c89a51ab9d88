# The other use of self-labelling in section 2.4: added gradually to the running training of CDC.
# The paper gives no schedule; here it comes in over 100 epochs, late, when clusters are stable.
_base_ = ['../cdc_r18_cifar10.py', '../_base_/self_label.py']

start = 1000
ramp = 100
threshold = 0.99

model = dict(head=dict(self_label=dict(type='SelfLabelLoss', threshold=threshold)))
data_preprocessor = dict(
    num_views=[2, 1, 1],
    transforms=[_base_.view, _base_.weak_view, _base_.strong_view],
)
custom_hooks = [dict(type='SelfLabelHook', start=start, ramp=ramp)]
