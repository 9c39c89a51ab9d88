# CDC on 50 classes of ImageNet on top of MoCo v2, in the setting of sections 3.1 and 3.3: the
# backbone stays as released after 800 epochs, only the MLP learns. One GPU holds the batch. The
# paper has this for 100 and 200 classes; 50 is SCAN's smallest subset.
# Weights: moco_v2_800ep_pretrain.pth.tar of https://github.com/facebookresearch/moco
_base_ = 'cdc_r50_imagenet.py'

num_clusters = 50
subset = 50  # how many classes the data have
epochs = 400
batch_size = 256
load_from = 'checkpoints/moco_v2_800ep_pretrain.pth.tar'
custom_hooks = [dict(type='PretrainedBackboneHook')]

model = dict(backbone=dict(frozen_stages=4), head=dict(num_clusters=num_clusters))

train_dataloader = dict(batch_size=batch_size, dataset=dict(type='ImageNetSubset', subset=subset))
val_dataloader = dict(dataset=dict(type='ImageNetSubset', subset=subset))
test_dataloader = val_dataloader

param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)]
train_cfg = dict(max_epochs=epochs)
