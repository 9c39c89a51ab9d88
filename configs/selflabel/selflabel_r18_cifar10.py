# Self-labelling of a trained CDC: Table 1, row "CDC + selflabel". The paper gives the threshold
# (section 2.4); the rest is SCAN's self-labelling of CIFAR-10, which it builds on.
_base_ = ['../cdc_r18_cifar10.py', '../_base_/self_label.py']

epochs = 200
batch_size = 1000
lr = 1e-4
threshold = 0.99
load_from = 'work_dirs/cdc_r18_cifar10/epoch_1200.pth'

model = dict(
    _delete_=True,
    type='SelfLabel',
    clusterer={{_base_.model}},
    loss=dict(type='SelfLabelLoss', threshold=threshold),
)
data_preprocessor = dict(
    views=dict(view1=None, view2=None, weak=_base_.weak_view, strong=_base_.strong_view)
)
custom_hooks = [dict(type='SelfLabelHook', finetune=True)]

train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=lr, weight_decay=1e-4),
    clip_grad=None,  # SCAN has none
)
param_scheduler = []
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=1000)
