# Linear classification on Places205 with AdCo's protocol, which the paper follows (Table 3): lr 5
# and a cosine of half-period 12 over 100 epochs, so that it goes down and up again.
_base_ = 'linear_r50_imagenet_adco.py'

num_classes = 205
lr = 5.0
half_period = 12
data_root = 'data/places205'
image_size = 224

test_pipeline = [
    dict(type='LoadImage', cache=_base_.image_cache),
    dict(type='Resize', scale=(image_size * 8 // 7, image_size * 8 // 7), backend='pillow'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(type='Places205Split', data_root=data_root))
val_dataloader = dict(
    dataset=dict(type='Places205Split', data_root=data_root, pipeline=test_pipeline)
)
test_dataloader = val_dataloader

model = dict(head=dict(num_classes=num_classes))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=half_period, by_epoch=True)]
