# CDC on 100 classes of ImageNet on top of MoCo v2: section 3.3.
_base_ = 'cdc_r50_imagenet50.py'

num_clusters = 100
subset = 100

model = dict(head=dict(num_clusters=num_clusters))
train_dataloader = dict(dataset=dict(subset=subset))
val_dataloader = dict(dataset=dict(subset=subset))
test_dataloader = val_dataloader
