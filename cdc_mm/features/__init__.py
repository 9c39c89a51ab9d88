from .analysis import build_test_loader, collect_outputs, load_model
from .extractor import FeatureExtractor, Features, evaluation_dataset_cfg, evaluation_loader
from .labels import LabelledRows, labelled_rows, multi_hot
from .neighbors import nearest_neighbors, top_k
from .outputs import iterate_outputs, known_outputs
from .store import write_rows

__all__ = [
    'FeatureExtractor',
    'Features',
    'LabelledRows',
    'build_test_loader',
    'collect_outputs',
    'evaluation_dataset_cfg',
    'evaluation_loader',
    'iterate_outputs',
    'known_outputs',
    'labelled_rows',
    'load_model',
    'multi_hot',
    'nearest_neighbors',
    'top_k',
    'write_rows',
]
