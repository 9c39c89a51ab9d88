"""Changes of one photograph on a CPU by OpenCV, which has kernels for pixels where torch has none.

Images are float32 RGB in [0, 1], (C, H, W) in any memory format, and are changed in place. What is
computed, and from which parameters, is said in :mod:`functional`, whose functions call these.
"""

from typing import List

import cv2
import numpy as np
import torch
from torch import Tensor

# ITU-R 601-2, as torchvision and Pillow weigh the channels.
GREY = (0.2989, 0.587, 0.114)


def color_jitter_(image: Tensor, terms: List[List[float]], place: int, turn: float) -> None:
    """Brightness, contrast and saturation in some order, and the hue among them.

    Args:
        image (Tensor): Shape (3, H, W).
        terms (list): Of each of the three in their order, what it multiplies the image, its
            luminance and the mean of that by.
        place (int): Which of the four the hue is, from 0.
        turn (float): Of the hue, in shares of the circle.
    """
    pixels = cv2.merge(list(image.numpy()))
    for step in range(4):
        if step == place:
            pixels = _turn_hue(pixels, turn)
        else:
            _blend(pixels, *terms[step - (step > place)])
    for plane, made in zip(image, cv2.split(pixels)):
        plane.copy_(torch.from_numpy(made))


def _blend(pixels: np.ndarray, image: float, grey: float, mean: float) -> None:
    """In place: the weighted sum of pixels (H, W, 3), their luminance and its mean."""
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = np.multiply(grey, GREY)
    matrix[np.arange(3), np.arange(3)] += image
    matrix[:, 3] = mean * np.dot(cv2.mean(pixels)[:3], GREY) if mean else 0
    cv2.transform(pixels, matrix, pixels)
    torch.from_numpy(pixels).clamp_(0, 1)


def _turn_hue(pixels: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0]  # in degrees
    hue += 360 * (turn % 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def gaussian_blur_(image: Tensor, sigma: float, kernel_size: int) -> None:
    """Blur, reflecting at the borders.

    Args:
        image (Tensor): Shape (C, H, W).
        sigma (float): In pixels.
        kernel_size (int): Odd.
    """
    for plane in image:
        made = cv2.GaussianBlur(
            plane.numpy(), (kernel_size, kernel_size), sigma, borderType=cv2.BORDER_REFLECT_101
        )
        plane.copy_(torch.from_numpy(made))
