# CDC on STL-10 from scratch: Table 1, row "CDC" (section 3.1). It trains on train+unlabeled and is
# measured on test.
_base_ = 'cdc_r18_cifar10.py'

num_clusters = 10
data_root = 'data/stl10'

# The paper is silent on the stem for 96 pixels. As in SCAN's network for STL-10, a 3x3 convolution
# of stride 1 comes first and the stages work at 48, 24, 12 and 6 pixels; where SCAN pools, the
# first stage strides.
model = dict(head=dict(num_clusters=num_clusters), backbone=dict(strides=(2, 2, 2, 2)))

train_dataloader = dict(dataset=dict(type='STL10', data_root=data_root, split='train+unlabeled'))
val_dataloader = dict(dataset=dict(type='STL10', data_root=data_root, split='test'))
test_dataloader = val_dataloader

view = dict(crop=dict(size=96))
data_preprocessor = dict(
    views=dict(view1=view, view2=view),
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
)
