"""Contrastive representation disentanglement for clustering (CDC).

Importing this package registers every component into mmpretrain's registries, so that configs
(``default_scope = 'mmpretrain'``) use them by their bare names.
"""

import warnings

with warnings.catch_warnings():
    # mmcv-lite warns about compiled operators that nothing here uses.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    from . import datasets, engine, evaluation, features, models, visualization

from .version import __version__

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'features',
    'models',
    'visualization',
]
