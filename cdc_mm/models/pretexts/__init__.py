from .autoencoder import AutoEncoder
from .conv_decoder import ConvDecoder
from .dcgan import DCGAN
from .denoising_autoencoder import DenoisingAutoEncoder
from .pcl import PCL
from .swwae import SWWAE
from .triplets import DiagonalMetric, Triplets
from .variational_autoencoder import GaussianNeck, VariationalAutoEncoder

__all__ = [
    'DCGAN',
    'PCL',
    'SWWAE',
    'AutoEncoder',
    'ConvDecoder',
    'DenoisingAutoEncoder',
    'DiagonalMetric',
    'GaussianNeck',
    'Triplets',
    'VariationalAutoEncoder',
]
