# Trains the network of a clustered folder by CDC: zc starts from the clusters that there are and zn
# from the principal components. --finetune of tools/cluster.py runs it, takes the weights halfway
# between the network before and after (Wortsman et al., 2022), and clusters its rows as before. In
# an epoch each image passes the network twice, forwards and once backwards: for those with a GPU or
# patience.
_base_ = '../cdc_r18_folder.py'

image_size = 192
epochs = 3
batch_size = 64
lr = 1e-4
num_workers = 2
image_cache = None
tau = 0.2

model = dict(
    backbone=dict(_delete_=True, type='EfficientNetLite', variant=2, mirror=True),
    neck=dict(_delete_=True, type='LinearNeck', norm_cfg=None),
    head=dict(instance_dim=64, tau=tau),
    queue_size=256,  # full of keys after a few steps
    symmetric=False,
)
custom_hooks = [dict(type='NormEvalHook')]

view = dict(blur=None)
data_preprocessor = dict(views=dict(view1=view, view2=view), mean=None, std=None)
crop = [dict(type='FastRandomResizedCrop', scale=image_size, crop_ratio_range=(0.3, 1.0))]
train_pipeline = [
    dict(type='LoadImage', on_error='skip', min_side=image_size * 9 // 4, cache=image_cache),
    dict(type='MultiView', num_views=2, transforms=[crop]),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=batch_size, num_workers=num_workers, dataset=dict(pipeline=train_pipeline)
)

optim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam', lr=lr, weight_decay=1e-4))
param_scheduler = []
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
auto_scale_lr = dict(base_batch_size=batch_size)
