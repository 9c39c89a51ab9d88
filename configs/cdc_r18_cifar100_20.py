# CDC on the 20 superclasses of CIFAR-100 from scratch: Table 1, row "CDC" (section 3.1).
_base_ = 'cdc_r18_cifar10.py'

num_clusters = 20
data_root = 'data/cifar100'

model = dict(head=dict(num_clusters=num_clusters))

train_dataloader = dict(dataset=dict(type='CIFAR100Coarse', data_root=data_root))
val_dataloader = dict(dataset=dict(type='CIFAR100Coarse', data_root=data_root))
test_dataloader = val_dataloader
data_preprocessor = dict(
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
)
