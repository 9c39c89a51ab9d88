from .extractor import (
    FeatureExtractor,
    Features,
    evaluation_dataset_cfg,
    evaluation_loader,
)
from .images import Images, scan_images
from .labels import LabelledRows, labelled_rows, multi_hot
from .neighbors import nearest_neighbors, top_k
from .outputs import iterate_outputs, known_outputs
from .store import FeatureStore, Rows

__all__ = [
    'FeatureExtractor',
    'FeatureStore',
    'Features',
    'Images',
    'LabelledRows',
    'Rows',
    'evaluation_dataset_cfg',
    'evaluation_loader',
    'iterate_outputs',
    'known_outputs',
    'labelled_rows',
    'multi_hot',
    'nearest_neighbors',
    'scan_images',
    'top_k',
]
