"""A clusterer as a file that runs without this package."""

import io
import warnings
from typing import Callable

import numpy as np
import torch
from torch import Tensor, nn

from .clusterers import BaseClusterer

FORMATS = ('onnx', 'torchscript')


class ImagesToClusters(nn.Module):
    """Images as they come out of the pipeline, to the probabilities of the clusters.

    Normalisation is inside, so that no user of the file need know mean and std.

    Args:
        model (BaseClusterer): With an encoder, its weights loaded.

    Raises:
        ValueError: If the model is no clusterer of images.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, BaseClusterer) or model.encoder is None:
            raise ValueError(
                f'{type(model).__name__} has no clusters of images to export: expected is the '
                'config of a clusterer with a backbone'
            )
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    def as_rgb(self, images: Tensor) -> Tensor:
        """Images as the pipeline gives them, which may be BGR, in the order that :meth:`forward`
        takes; and back.
        """
        return images.flip(1) if self.model.data_preprocessor._channel_conversion else images

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities (B, K), float32, of images (B, C, H, W), uint8 and RGB (or grey)."""
        images = self.as_rgb(images)  # the preprocessor expects the pipeline's order
        inputs = self.model.data_preprocessor(dict(inputs=images))['inputs']
        return torch.softmax(self.model.scores(self.model.encode(inputs)).float(), dim=1)


def export_model(model: ImagesToClusters, images: Tensor, file_format: str) -> bytes:
    """The content of a file that computes what the model does, for batches of any size.

    Args:
        model (ImagesToClusters): On the CPU.
        images (Tensor): Real images (B, C, H, W), B at least 2; the file takes this C, H and W.
        file_format (str): ``onnx``, whose input is called ``images`` and whose output
            ``probabilities``; or ``torchscript``.

    Raises:
        ValueError: If a package that writes the format is missing.
    """
    out = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of torch about its own future
        if file_format == 'torchscript':
            torch.jit.save(torch.jit.trace(model, (images,), check_trace=False), out)
            return out.getvalue()
        try:
            torch.onnx.export(
                model,
                (images,),
                out,
                dynamo=True,
                verbose=False,
                input_names=['images'],
                output_names=['probabilities'],
                dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
            )
        except ModuleNotFoundError as error:
            raise _missing(error) from error
    return out.getvalue()


def open_exported(content: bytes, file_format: str) -> Callable[[Tensor], Tensor]:
    """What a file of :func:`export_model` computes, run by torch or by onnxruntime.

    Raises:
        ValueError: If onnxruntime is missing.
    """
    if file_format == 'torchscript':
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.jit.load(io.BytesIO(content))
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Tensor:
        (probabilities,) = session.run(['probabilities'], dict(images=np.asarray(images)))
        return torch.from_numpy(probabilities)

    return run


@torch.no_grad()
def largest_difference(model: ImagesToClusters, run: Callable, images: Tensor) -> float:
    """How far an exported file is from the model, over a batch of all images and over one of one.

    Args:
        model (ImagesToClusters): On the CPU.
        run (callable): Of :func:`open_exported`.
        images (Tensor): Shape (B, C, H, W).

    Returns:
        float: The largest difference of a probability; infinite if a shape differs.
    """
    differences = []
    for batch in (images, images[:1]):
        wanted, got = model(batch), run(batch)
        if wanted.shape != got.shape:
            return float('inf')
        differences.append((wanted - got).abs().max().item())
    return max(differences)


def _missing(error: ModuleNotFoundError) -> ValueError:
    return ValueError(
        f'ONNX needs {error.name}: pip install onnx onnxscript onnxruntime. '
        '--format torchscript needs nothing.'
    )
