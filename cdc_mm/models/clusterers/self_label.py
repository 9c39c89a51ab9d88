from typing import Dict, Optional, Tuple, Union

import torch
from mmengine.model import BaseModel
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..encoders import BaseEncoder
from ..layers import ClusterTargets
from ..utils import PseudoLabels
from .base import BaseClusterer, build_preprocessor, rename_prefix, rename_weights_on_load

_OWN = ('clusterer.', 'pseudo_labels.', 'loss_module.', 'data_preprocessor.')


@MODELS.register_module()
class SelfLabel(BaseClusterer):
    """Lets any clusterer label itself (section 2.4 of the paper, after SCAN).

    The confident clusters of a weak view supervise a strong view of the same image. Alone this
    fine-tunes a trained clusterer; added to the clusterer's own losses it is the gradual form of
    the paper. :class:`SelfLabelHook` says which, when and how strongly.

    Checkpoints of the clusterer load into the wrapper, and the wrapper's into the clusterer.

    Args:
        clusterer (dict): Config of the clusterer.
        loss (dict, optional): Config of the :class:`SelfLabelLoss`. Defaults to the ``self_label``
            of the clusterer's :class:`CDCHead`, else to the paper's.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If what it is given is no clusterer, or its probabilities cannot reach the
            threshold.

    Attributes:
        finetune (bool): Whether the term is the only one. Set by :class:`SelfLabelHook`.
        weight (float): Weight of the term. Set by :class:`SelfLabelHook`.
    """

    def __init__(
        self,
        clusterer: dict,
        loss: Optional[dict] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
    ) -> None:
        built = MODELS.build(clusterer)
        if not isinstance(built, BaseClusterer):
            raise ValueError(
                f'{type(built).__name__} predicts no clusters that could be its labels: SelfLabel '
                'takes a clusterer, such as CDC or SCAN'
            )
        # Encoder and number of clusters are those of the clusterer.
        BaseModel.__init__(self, build_preprocessor(data_preprocessor, built.encoder))
        self.clusterer = built
        own = getattr(getattr(built, 'head', None), 'self_label', None)
        if loss is not None or own is None:
            own = MODELS.build(
                loss or dict(type='SelfLabelLoss'),
                default_args=dict(max_confidence=built.max_confidence),
            )
        self.loss_module = own
        self.finetune = False
        self.weight = 1.0
        self.pseudo_labels = None
        self.register_load_state_dict_pre_hook(rename_weights_on_load)

    @property
    def num_clusters(self) -> int:
        """K."""
        return self.clusterer.num_clusters

    @property
    def encoder(self) -> Optional[BaseEncoder]:
        """The clusterer's."""
        return self.clusterer.encoder

    @property
    def needs(self) -> Tuple[str, ...]:
        """A weak and a strong view, and unless it fine-tunes what the clusterer needs."""
        own = ('weak', 'strong', 'sample_idx')
        return own if self.finetune else (*self.clusterer.needs, *own)

    @property
    def embeddings(self) -> Tuple[str, ...]:
        """Those of the clusterer."""
        return self.clusterer.embeddings

    @property
    def training_only(self) -> Tuple[str, ...]:
        """State that only training needs, by the start of its names."""
        return ('pseudo_labels.', *(f'clusterer.{name}' for name in self.clusterer.training_only))

    @property
    def remedies(self) -> Dict[str, str]:
        """The clusterer's, by their names in this config."""
        remedies = self.clusterer.remedies
        return {k: v.replace('model.', 'model.clusterer.') for k, v in remedies.items()}

    @property
    def max_confidence(self) -> float:
        """The clusterer's."""
        return self.clusterer.max_confidence

    def scores(self, rows: Tensor) -> Tensor:
        """The clusterer's scores of rows (B, D), shape (B, K)."""
        return self.clusterer.scores(rows)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """The clusterer's features."""
        return self.clusterer.embed(rows)

    def head_labels(self, rows: Tensor) -> Optional[Tensor]:
        """The clusterer's."""
        return self.clusterer.head_labels(rows)

    def diagnostics(self) -> dict:
        """The clusterer's."""
        return self.clusterer.diagnostics()

    def take_targets(self, num_images: int) -> ClusterTargets:
        """The clusterer's."""
        return self.clusterer.take_targets(num_images)

    def prepare(self, num_images: int) -> None:
        """Make the record of pseudo-labels, and prepare the clusterer."""
        self.clusterer.prepare(num_images)
        if self.pseudo_labels is None or len(self.pseudo_labels.current) != num_images:
            device = next(self.parameters()).device
            self.pseudo_labels = PseudoLabels(num_images, self.num_clusters).to(device)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The clusterer's losses, unless this fine-tunes, and the term of self-labelling.

        Args:
            batch (dict): Views ``weak`` and ``strong``, images (B, 3, H, W) or rows (B, D);
                ``sample_idx`` (B,); and unless this fine-tunes what the clusterer needs.

        Returns:
            dict: ``loss_selflabel`` (weighted), ``confident_share`` of the global batch, and the
            clusterer's.
        """
        losses = {} if self.finetune else self.clusterer.loss(batch)
        if self.weight == 0:
            return losses
        with torch.no_grad():
            weak = self.scores(self.encode(batch['weak']))
        if self.finetune:
            # Otherwise the clusterer's own loss counts.
            self.count_clusters(weak.argmax(dim=1))
        result = self.loss_module(self.scores(self.encode(batch['strong'])), weak)
        if self.pseudo_labels is not None:
            self.pseudo_labels.record(batch['sample_idx'], result['labels'])
        return dict(
            losses,
            loss_selflabel=self.weight * result['loss'],
            confident_share=result['confident_share'],
        )

    def rename_weights(self, state_dict: dict, prefix: str = '') -> None:
        """See :meth:`BaseClusterer.rename_weights`; takes a clusterer's checkpoint, too."""
        for name in list(state_dict):
            inner = name.removeprefix(prefix)
            if name.startswith(prefix) and not inner.startswith(_OWN):
                state_dict[f'{prefix}clusterer.{inner}'] = state_dict.pop(name)
        rename_prefix(state_dict, f'{prefix}clusterer.pseudo_labels.', f'{prefix}pseudo_labels.')
        self.clusterer.rename_weights(state_dict, f'{prefix}clusterer.')
