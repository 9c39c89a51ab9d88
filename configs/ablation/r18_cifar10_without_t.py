# Table 6, without t: the temperature of the cluster probabilities is 1.
_base_ = '../cdc_r18_cifar10.py'

t = 1.0

model = dict(head=dict(t=t))
