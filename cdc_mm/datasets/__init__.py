from .cifar100_coarse import CIFAR100Coarse
from .digits import Digits
from .image_folder import ImageFolder
from .imagenet_subset import ImageNetSubset
from .stl10 import STL10

__all__ = ['STL10', 'CIFAR100Coarse', 'Digits', 'ImageFolder', 'ImageNetSubset']
