# cdc_digits.py with re-clustering, which the paper does not have: see ReclusterHook.
_base_ = 'cdc_digits.py'

custom_hooks = [dict(type='ReclusterHook')]
