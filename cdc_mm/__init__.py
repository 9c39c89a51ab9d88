"""Contrastive representation disentanglement for clustering (CDC): images into clusters, no labels.

Cluster a folder of photographs::

    from cdc_mm import ImageClusterer

    clusterer = ImageClusterer(n_clusters=12).fit('photos')
    clusterer.report('report.html')

Importing this package registers every component into mmpretrain's registries, so that configs
(``default_scope = 'mmpretrain'``) use them by their bare names.

Train, evaluate, and look up the cluster of an image::

    from mmpretrain import ImageClassificationInferencer

    from cdc_mm import apis

    cfg = apis.read_config('configs/cdc_digits.py', {'epochs': 160})
    cfg.work_dir = 'work_dirs/digits'
    runner = apis.build_runner(cfg)
    runner.train()
    print(runner.test()['clustering/acc'])

    find = ImageClassificationInferencer(cfg, pretrained='work_dirs/digits/epoch_160.pth')
    image = runner.test_dataloader.dataset[0]['inputs'].permute(1, 2, 0).numpy()
    print(find(image)[0]['pred_label'])

For images of your own take ``configs/cdc_r18_folder.py`` and set ``data_root`` and
``num_clusters``; the inferencer then takes paths.

In a shell, ``python -m cdc_mm`` says which tools and configs there are. The rooms of the package,
from the top down: ``apis`` (what a user calls), ``folders``, ``experiments``, ``detection``,
``engine``, ``evaluation``, ``features``, ``visualization``, ``datasets``, ``models``,
``checkpoints``.
"""

import warnings

from . import early  # noqa: F401  (first)

with warnings.catch_warnings():
    # mmcv-lite warns about compiled operators that nothing here uses.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    from . import datasets, engine, evaluation, features, models, visualization

from .version import __version__

__all__ = [
    'ClusterInferencer',
    'ImageClusterer',
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'features',
    'models',
    'visualization',
]


def __getattr__(name: str):
    # Late, as they need all the rooms above.
    if name in ('ClusterInferencer', 'ImageClusterer'):
        from . import folders

        return getattr(folders, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
