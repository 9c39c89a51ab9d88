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
    PoolingConvNet,
    SmallConvNet,
    TimmEncoder,
    TorchvisionEncoder,
)
from .heads import CDCHead
from .layers import SplitBatchNorm2d
from .losses import CDCLoss, SCANLoss, SelfLabelLoss, SwappedPredictionLoss
from .pretexts import (
    DCGAN,
    SWWAE,
    AutoEncoder,
    ConvDecoder,
    DenoisingAutoEncoder,
    DiagonalMetric,
    GaussianNeck,
    Triplets,
    VariationalAutoEncoder,
)

__all__ = [
    'CDC',
    'DCGAN',
    'DEC',
    'SCAN',
    'SWWAE',
    'TEMI',
    'TURTLE',
    'AutoEncoder',
    'BaseClusterer',
    'BaseEncoder',
    'CDCHead',
    'CDCLoss',
    'CDCMoCoV3',
    'ConvDecoder',
    'DenoisingAutoEncoder',
    'DiagonalMetric',
    'EfficientNetLite',
    'Encoder',
    'GaussianNeck',
    'MultiHead',
    'MultiViewDataPreprocessor',
    'PoolingConvNet',
    'SCANLoss',
    'SelfLabel',
    'SelfLabelLoss',
    'SinkhornAssigner',
    'SmallConvNet',
    'SplitBatchNorm2d',
    'SwappedPredictionLoss',
    'TimmEncoder',
    'TorchvisionEncoder',
    'Triplets',
    'VariationalAutoEncoder',
]
