# CDC on a folder of your own photographs, on top of a pretrained ResNet-50 that stays as it is: for
# few images, or little time. Set data_root and num_clusters. load_from takes any ResNet-50: MoCo's
# released files (https://github.com/facebookresearch/moco), torchvision's, your own checkpoint.
_base_ = 'cdc_r50_imagenet50.py'

data_root = 'data/images'
num_clusters = 10
batch_size = 256

model = dict(
    head=dict(num_clusters=num_clusters),
    queue_size=4096,  # at most the number of images, or they are their own negatives
    momentum=0.99,  # a folder has few iterations
)

# See cdc_r18_folder.py for what the views may and may not differ in.
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        type='ImageFolder',
        data_root=data_root,
        with_label=False,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ImageFolder', data_root=data_root, pipeline=_base_.test_pipeline
    )
)
test_dataloader = val_dataloader
