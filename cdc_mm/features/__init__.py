from .encoder_rows import EncoderRows, encoder_pipeline, encoder_settings
from .extractor import (
    FeatureExtractor,
    Features,
    evaluation_dataset_cfg,
    evaluation_loader,
    example_images,
)
from .feature_dataset import FeatureDataset, dataset_rows
from .images import Images, scan_images
from .labels import LabelledRows, labelled_rows, multi_hot
from .neighbors import nearest_neighbors, neighbor_table, other_neighbors, top_k
from .outputs import iterate_outputs, known_outputs
from .row_file import RowFile
from .store import FeatureStore, Rows, read_rows
from .unreadable import tell_unreadable, told_once, unreadable

__all__ = [
    'EncoderRows',
    'FeatureDataset',
    'FeatureExtractor',
    'FeatureStore',
    'Features',
    'Images',
    'LabelledRows',
    'RowFile',
    'Rows',
    'dataset_rows',
    'encoder_pipeline',
    'encoder_settings',
    'evaluation_dataset_cfg',
    'evaluation_loader',
    'example_images',
    'iterate_outputs',
    'known_outputs',
    'labelled_rows',
    'multi_hot',
    'nearest_neighbors',
    'neighbor_table',
    'other_neighbors',
    'read_rows',
    'scan_images',
    'tell_unreadable',
    'told_once',
    'top_k',
    'unreadable',
]
