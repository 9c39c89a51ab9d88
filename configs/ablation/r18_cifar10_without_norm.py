# Table 6, without norm: zc is not normalised. The paper reports that the loss becomes NaN.
_base_ = '../cdc_r18_cifar10.py'

model = dict(head=dict(normalize_zc=False))
