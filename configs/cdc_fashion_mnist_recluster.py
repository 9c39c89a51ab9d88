# cdc_fashion_mnist.py with re-clustering, which the paper does not have: see ReclusterHook.
_base_ = 'cdc_fashion_mnist.py'

custom_hooks = [dict(type='ReclusterHook')]
