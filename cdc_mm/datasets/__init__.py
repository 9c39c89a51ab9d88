from .cifar10_files import CIFAR10Files
from .cifar100_coarse import CIFAR100Coarse
from .digits import Digits
from .fashion_mnist_files import FashionMNISTFiles
from .image_folder import ImageFolder
from .imagenet_subset import ImageNetSubset
from .listed_imagenet import ListedImageNet
from .places205_split import Places205Split
from .stl10 import STL10
from .transforms import FastRandomResizedCrop, LoadImage
from .voc07 import VOC07

__all__ = [
    'STL10',
    'VOC07',
    'CIFAR10Files',
    'CIFAR100Coarse',
    'Digits',
    'FashionMNISTFiles',
    'FastRandomResizedCrop',
    'ImageFolder',
    'ImageNetSubset',
    'ListedImageNet',
    'LoadImage',
    'Places205Split',
]
