# The other use of self-labelling in section 2.4: added gradually to the running training of CDC.
# The paper gives no schedule; here it comes in over 100 epochs, late, when clusters are stable.
_base_ = ['../cdc_r18_cifar10.py', '../_base_/self_label.py']

start = _base_.epochs * 5 // 6  # epoch 1000
ramp = _base_.epochs // 12  # 100 epochs
weight = 1.0  # of the term beside CDC's, when it is fully on
threshold = 0.99

model = dict(
    _delete_=True,
    type='SelfLabel',
    clusterer={{_base_.model}},
    loss=dict(type='SelfLabelLoss', threshold=threshold),
)
data_preprocessor = dict(views=dict(weak=_base_.weak_view, strong=_base_.strong_view))
custom_hooks = [dict(type='SelfLabelHook', weight=weight, start=start, ramp=ramp)]
