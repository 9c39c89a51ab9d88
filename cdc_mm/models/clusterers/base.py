from abc import ABCMeta, abstractmethod
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..encoders import BaseEncoder, build_encoder
from ..layers import ClusterTargets
from ..utils import as_float

Inputs = Union[Tensor, Mapping[str, Tensor], Sequence[Tensor]]


class BaseClusterer(BaseModel, metaclass=ABCMeta):
    """Gives every image scores of K clusters; what all such models share.

    A clusterer works on rows of features (B, D). Where they come from it does not know: what it is
    given with four dimensions are images, for its encoder, and what has two dimensions are rows
    already, say of a :class:`~cdc_mm.features.FeatureStore`. So the same model trains on images or
    on stored rows of a frozen encoder, and predicts from both.

    A subclass writes :meth:`scores` and :meth:`loss`, says in ``needs`` what a training batch must
    hold, and may override the rest. Metrics, feature extraction, hooks and tools use nothing else.

    Args:
        num_clusters (int): K, at least 2.
        encoder (BaseEncoder, optional): Makes rows of images; None for a model that is given rows.
        data_preprocessor (dict | nn.Module, optional): Config of the preprocessor, by default a
            :class:`MultiViewDataPreprocessor`. Mean and std that it leaves unset are the encoder's.
        init_cfg (dict, optional): Of mmengine's ``BaseModule``.

    Raises:
        ValueError: If ``num_clusters`` is out of range.

    Attributes:
        needs (tuple): The names in a training batch: views (``view1``, ``view2``, ``weak``,
            ``strong``, ``neighbor``), and ``sample_idx`` for the numbers of the images.
        embeddings (tuple): The names of what :meth:`embed` gives.
        training_only (tuple): How the names of state start that only training needs.
        remedies (dict): By sign of :class:`CollapseWatchHook` what to change in the config.
    """

    needs: Tuple[str, ...] = ('view1', 'view2')
    embeddings: Tuple[str, ...] = ()
    training_only: Tuple[str, ...] = ()
    remedies: Dict[str, str] = {}

    def __init__(
        self,
        num_clusters: int,
        encoder: Optional[BaseEncoder] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if num_clusters < 2:
            raise ValueError(f'num_clusters must be at least 2, got {num_clusters}')
        super().__init__(build_preprocessor(data_preprocessor, encoder), init_cfg)
        self.num_clusters = num_clusters
        self.encoder = encoder
        # Predictions by cluster, of all ranks, since CollapseWatchHook last looked.
        self.register_buffer('cluster_sizes', torch.zeros(num_clusters), persistent=False)
        self.register_load_state_dict_pre_hook(rename_weights_on_load)

    @property
    def backbone(self) -> Optional[nn.Module]:
        """The network inside the encoder."""
        return None if self.encoder is None else self.encoder.backbone

    @property
    def frozen(self) -> bool:
        """Whether training leaves the encoder as it is, so that rows may be computed once."""
        return self.encoder is None or self.encoder.frozen

    @property
    def max_confidence(self) -> float:
        """The largest probability that the scores can give."""
        return 1.0

    # What a subclass writes.

    @abstractmethod
    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the clusters, whose softmax gives their probabilities.

        Args:
            rows (Tensor): Shape (B, D), see :meth:`encode`.

        Returns:
            Tensor: Shape (B, K).
        """

    @abstractmethod
    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Losses of a batch.

        Args:
            batch (dict): What ``needs`` names: of each view images (B, 3, H, W), for
                :meth:`encode`, or rows (B, D), B the same on every rank; ``sample_idx`` (B,).

        Returns:
            dict: What has ``loss`` in its name is summed up and minimised, the rest is logged.
        """

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """Further features of images by name, for analyses, each (B, some width)."""
        return {}

    def head_labels(self, rows: Tensor) -> Optional[Tensor]:
        """The clusters that each of several heads gives rows (B, D), shape (B, heads).

        None where there is one head, or heads that are not asked about the same thing.
        """
        return None

    def prepare(self, num_images: int) -> None:
        """Get ready for training on ``num_images`` images, before a checkpoint is loaded.

        Done twice for the same images, the second time changes nothing.
        """

    def fit_rows(self, rows: np.ndarray) -> None:
        """Look once at the rows (N, D) of training images before training (``FitRowsHook``)."""

    def take_targets(self, num_images: int) -> ClusterTargets:
        """Make room for clusters of the training images that training takes as targets.

        Args:
            num_images (int): The images of the training data.

        Returns:
            ClusterTargets: Where to enter them.

        Raises:
            ValueError: If the clusterer trains by no targets.
        """
        raise ValueError(f'{type(self).__name__} takes no clusters as targets of its training')

    def diagnostics(self) -> dict:
        """What :class:`CollapseWatchHook` looks at; all of it is optional.

        Returns:
            dict: ``cluster_sizes``, a tensor (K,) of the predictions of all ranks by cluster, which
            the hook sets to zero when it has looked; ``entropy``, the name of the logged entropy of
            the assignments, 0 to 1; ``spread``, the name of the logged spread of the features, 0
            to 1; ``uniform``, the value by name that a loss has for a uniform prediction.
        """
        return dict(cluster_sizes=self.cluster_sizes)

    # What all have.

    @torch.no_grad()
    def count_clusters(self, clusters: Tensor) -> None:
        """Count predictions of this rank's batch, shape (B,), for :meth:`diagnostics`."""
        counted = self.diagnostics().get('cluster_sizes')
        if counted is not None:
            sizes = torch.bincount(clusters, minlength=self.num_clusters).to(counted)
            all_reduce(sizes)
            counted += sizes

    def encode(self, inputs: Tensor) -> Tensor:
        """Rows (B, D) of images (B, 3, H, W); rows (B, D) stay as they are.

        Raises:
            ValueError: If it is given images and has no encoder.
        """
        if inputs.ndim == 2:
            return inputs
        if self.encoder is None:
            raise ValueError(
                f'{type(self).__name__} has no encoder and takes rows (B, D), got '
                f'{tuple(inputs.shape)}: give it a backbone, or data of type FeatureDataset.'
            )
        return self.encoder(inputs)

    def extract_feat(self, inputs: Tensor) -> Tuple[Tensor]:
        """Rows (B, D) in a tuple, as mmpretrain's tools expect."""
        return (self.encode(inputs),)

    def forward(
        self,
        inputs: Inputs,
        data_samples: Optional[List[DataSample]] = None,
        mode: str = 'tensor',
    ):
        """Entry of training and test.

        Args:
            inputs (Tensor | dict | list): Images (B, 3, H, W) or rows (B, D); for ``loss`` views of
                them by name, which may hold ``sample_idx`` (B,), too, or a list of views in the
                order of ``needs``.
            data_samples (list, optional): The samples of the batch. Training never looks at more of
                them than ``sample_idx``.
            mode (str): ``tensor`` gives rows in a tuple, ``loss`` a dict of losses, ``predict``
                samples with ``pred_score`` and ``pred_label``.

        Raises:
            ValueError: If ``mode`` is none of these, or a training batch lacks something.
        """
        if mode == 'loss':
            return self.loss(self._batch(inputs, data_samples))
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')

    def _batch(self, inputs: Inputs, data_samples: Optional[List[DataSample]]) -> Dict[str, Tensor]:
        views = [name for name in self.needs if name != 'sample_idx']
        if isinstance(inputs, Tensor):
            batch = {}
        elif isinstance(inputs, Mapping):
            batch = dict(inputs)
        else:
            batch = dict(zip(views, inputs)) if len(inputs) == len(views) else {}
        check_views(self, batch)
        if 'sample_idx' not in self.needs:
            batch.pop('sample_idx', None)
        elif 'sample_idx' not in batch:
            numbers = torch.tensor([sample.sample_idx for sample in data_samples])
            batch['sample_idx'] = numbers.to(batch[views[0]].device)
        return batch

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: Optional[List[DataSample]] = None
    ) -> List[DataSample]:
        """Cluster probabilities and their argmax.

        Args:
            inputs (Tensor): Images (B, 3, H, W) or rows (B, D).
            data_samples (list, optional): The B samples to fill in; new ones if None.

        Returns:
            list: The samples with ``pred_score`` (K,) and ``pred_label`` (1,) on the CPU; also
            ``row`` (D,) if the encoder is frozen, and ``head_labels`` if there are several heads.
        """
        rows = self.encode(inputs)
        # One copy to the host a batch instead of one a sample.
        scores = torch.softmax(as_float(self.scores(rows)), dim=1).cpu()
        labels = scores.argmax(dim=1)
        if data_samples is None:
            data_samples = [DataSample() for _ in scores]
        fields = dict(row=rows if self.frozen else None, head_labels=self.head_labels(rows))
        for name, values in fields.items():
            if values is not None:
                for sample, value in zip(data_samples, values.cpu(), strict=True):
                    sample.set_field(value, name)
        return [
            sample.set_pred_score(score).set_pred_label(label)
            for sample, score, label in zip(data_samples, scores, labels, strict=True)
        ]

    def rename_weights(self, state_dict: dict, prefix: str = '') -> None:
        """Give the weights of an older checkpoint, in place, the names that they have now.

        Args:
            state_dict (dict): Weights by name.
            prefix (str): How the names of this model's weights start.
        """
        # A self-labelled checkpoint holds the clusterer inside the wrapper.
        rename_prefix(state_dict, f'{prefix}clusterer.', prefix)
        rename_prefix(state_dict, f'{prefix}backbone.', f'{prefix}encoder.backbone.')


def check_views(clusterer: BaseClusterer, given: Sequence[str]) -> None:
    """Refuse training data that lack a view that a clusterer needs.

    Args:
        clusterer (BaseClusterer): The model.
        given (Sequence[str]): Names of the views that there are.

    Raises:
        ValueError: If one is missing; says where views come from.
    """
    missing = [n for n in clusterer.needs if n not in given and n != 'sample_idx']
    if missing:
        raise ValueError(
            f'{type(clusterer).__name__} needs the views {", ".join(clusterer.needs)} of each '
            f'image, and the data have {", ".join(given) or "none by name"}: name '
            f'{", ".join(missing)} in `views` of the MultiViewDataPreprocessor, or of the '
            'FeatureDataset.'
        )


def build_preprocessor(
    cfg: Optional[Union[dict, nn.Module]], encoder: Optional[BaseEncoder]
) -> nn.Module:
    """Build a preprocessor; mean and std that its config leaves unset are the encoder's."""
    if isinstance(cfg, nn.Module):
        return cfg
    cfg = {'type': 'MultiViewDataPreprocessor', **(cfg or {})}
    if encoder is not None and encoder.mean is not None and cfg.get('mean') is None:
        cfg.update(mean=list(encoder.mean), std=list(encoder.std))
    return MODELS.build(cfg)


def build_backbone(cfg: Optional[Union[dict, nn.Module]]) -> Optional[BaseEncoder]:
    """The encoder of a clusterer's ``backbone``; None stays None."""
    return None if cfg is None else build_encoder(cfg)


def width_of_rows(kind: type, encoder: Optional[BaseEncoder], in_channels: Optional[int]) -> int:
    """The width D of the rows of a clusterer: what its config says, or that of its encoder.

    Raises:
        ValueError: If neither says.
    """
    if in_channels is None and encoder is None:
        raise ValueError(
            f'without a backbone {kind.__name__} needs in_channels, the width of the rows'
        )
    return encoder.feat_dim if in_channels is None else in_channels


def rename_prefix(state_dict: dict, old: str, new: str) -> None:
    """Replace the start of the names in a state dict, in place; its order does not matter."""
    for name in [name for name in state_dict if name.startswith(old)]:
        state_dict[new + name.removeprefix(old)] = state_dict.pop(name)


def rename_weights_on_load(model: BaseClusterer, state_dict: dict, prefix: str, *_) -> None:
    """Lets a model load checkpoints of older versions; a hook of ``load_state_dict``."""
    model.rename_weights(state_dict, prefix)
