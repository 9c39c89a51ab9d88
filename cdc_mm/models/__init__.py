from .assigners import SinkhornAssigner
from .clusterers import (
    CDC,
    DEC,
    SCAN,
    TEMI,
    TURTLE,
    BaseClusterer,
    CDCMoCoV3,
    MultiHead,
    SelfLabel,
)
from .data_preprocessors import MultiViewDataPreprocessor
from .encoders import (
    BaseEncoder,
    EfficientNetLite,
    Encoder,
    SmallConvNet,
    TimmEncoder,
    TorchvisionEncoder,
)
from .heads import CDCHead
from .layers import SplitBatchNorm2d
from .losses import CDCLoss, SCANLoss, SelfLabelLoss

__all__ = [
    'CDC',
    'DEC',
    'SCAN',
    'TEMI',
    'TURTLE',
    'BaseClusterer',
    'BaseEncoder',
    'CDCHead',
    'CDCLoss',
    'CDCMoCoV3',
    'EfficientNetLite',
    'Encoder',
    'MultiHead',
    'MultiViewDataPreprocessor',
    'SCANLoss',
    'SelfLabel',
    'SelfLabelLoss',
    'SinkhornAssigner',
    'SmallConvNet',
    'SplitBatchNorm2d',
    'TimmEncoder',
    'TorchvisionEncoder',
]
