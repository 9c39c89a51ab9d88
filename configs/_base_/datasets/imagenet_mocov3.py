# MoCo v3's augmentation: two views that differ in blur and solarisation. As in imagenet_mocov2.py
# the crop is made in the data workers, the rest for whole batches on the model's device.
_base_ = 'imagenet_mocov2.py'

batch_size = 512  # on each of 8 GPUs

jitter = dict(saturation=0.2)
solarize = dict(type='BatchRandomSolarize', threshold=0.5, p=0.2)
data_preprocessor = dict(
    views=dict(
        view1=dict(jitter=jitter, blur=dict(p=1.0)),
        view2=dict(jitter=jitter, blur=dict(p=0.1), solarize=solarize),
    )
)
train_dataloader = dict(batch_size=batch_size)
