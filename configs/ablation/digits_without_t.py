# Table 6, without t: the temperature of the cluster probabilities is 1.
_base_ = '../cdc_digits.py'

model = dict(head=dict(t=1.0))
