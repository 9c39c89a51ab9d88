# Linear classification on ImageNet with AdCo's protocol, which the paper follows (Table 3): lr 10,
# cosine to 0.01, and AdCo's default augmentation. AdCo also reports a mean over eight random crops
# of each test image; here it is the centre crop alone.
_base_ = ['linear_r50_imagenet_moco.py', '../_base_/datasets/adco_pipeline.py']

epochs = 100
lr = 10.0

train_dataloader = dict(dataset=dict(pipeline={{_base_.adco_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0.01, by_epoch=True)]
