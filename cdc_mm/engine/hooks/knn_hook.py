from typing import Sequence, Tuple

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmpretrain.registry import DATASETS, HOOKS
from torch import Tensor
from torch.utils.data import DataLoader

from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import vote_accuracy
from cdc_mm.features import (
    evaluation_dataset_cfg,
    evaluation_loader,
    iterate_outputs,
    nearest_neighbors,
    top_k,
)
from cdc_mm.wrappers import unwrap_model

from .broadcast_bn_hook import broadcast_bn


@HOOKS.register_module()
class KNNHook(Hook):
    """During pretraining, classify the test images by their nearest training images.

    A weighted kNN on the features, every n epochs and after the last: how good they are, without
    training a classifier. Labels serve only to measure. The result goes to the log and the visual
    backends (``knn/top1``). Each rank keeps the features of its share of the training images, so
    the memory needed is N x D x 4 bytes over all ranks, and the result does not depend on their
    number.

    Args:
        interval (int): Epochs between evaluations. Defaults to 10.
        k (int): Neighbours. Defaults to 200.
        temperature (float): Of the votes; see :func:`knn_scores`. Defaults to 0.1.
        output (str): As of :func:`iterate_outputs`. Defaults to ``backbone``.
    """

    def __init__(
        self, interval: int = 10, k: int = 200, temperature: float = 0.1, output: str = 'backbone'
    ) -> None:
        for name, value in (('interval', interval), ('k', k)):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        self.interval = interval
        self.k = k
        self.temperature = temperature
        self.output = output

    def before_train(self, runner) -> None:
        """Open both data sets, which a test does without.

        Raises:
            ValueError: If a data set has no labels, or there are fewer than k training images.
        """
        self._loaders = []
        for split in ('train', 'test'):
            dataset = DATASETS.build(evaluation_dataset_cfg(runner.cfg, split))
            if not any('gt_label' in dataset.get_data_info(i) for i in range(len(dataset))):
                raise ValueError(
                    f'KNNHook compares with labels, and the {split} images have none: leave it out'
                )
            self._loaders.append(evaluation_loader(runner.cfg, dataset))
        images = len(self._loaders[0].dataset)
        if images < self.k:
            raise ValueError(f'KNNHook has k={self.k}, but there are {images} training images')

    def after_train_epoch(self, runner) -> None:
        """Evaluate, if it is time."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        model = unwrap_model(runner.model)
        broadcast_bn(model)
        bank, query = (self._features(model, loader) for loader in self._loaders)
        accuracy = self._accuracy(*bank, *query, next(model.parameters()).device)
        runner.visualizer.add_scalars({'knn/top1': accuracy}, step=runner.epoch + 1)
        runner.logger.info(
            f'kNN top-1 after epoch {runner.epoch + 1}: {accuracy:.2f} % (k={self.k}, temperature '
            f'{self.temperature})'
        )

    def _features(self, model, loader: DataLoader) -> Tuple[Tensor, Tensor]:
        """Features and labels of this rank's share of the images that have a label."""
        # A rank may have no labelled image, or no image at all.
        rows, labels = [torch.empty(0, 0)], []
        for batch, samples in iterate_outputs(model, loader, self.output):
            found = [int(sample.get('gt_label', -1)) for sample in samples]
            kept = [i for i, label in enumerate(found) if label >= 0]
            rows.append(batch[kept])
            labels += [found[i] for i in kept]
        return _join(rows), torch.tensor(labels, dtype=torch.long)

    def _accuracy(
        self,
        bank: Tensor,
        bank_labels: Tensor,
        queries: Tensor,
        query_labels: Tensor,
        device: torch.device,
    ) -> float:
        queries, query_labels = (_join(all_gather_object(part)) for part in (queries, query_labels))
        counts = all_gather_object(len(bank))
        if not len(queries) or not sum(counts):
            raise RunError(
                f'KNNHook: of the images that could be read, {sum(counts)} training images and '
                f'{len(queries)} test images have a label'
            )
        # The k nearest of all ranks are among the k nearest of each.
        found = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
        if len(bank):
            similarities, indices = nearest_neighbors(queries, bank, min(self.k, len(bank)), device)
            found = similarities.cpu(), bank_labels[indices.cpu()]
        similarities, neighbors = (torch.cat(all_gather_object(part), dim=1) for part in found)
        similarities, neighbors = top_k(similarities, neighbors, self.k)
        return vote_accuracy(similarities, neighbors, query_labels, [self.temperature])[
            self.temperature
        ]


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Parts one after the other; those without rows may lack columns, too."""
    return torch.cat([part for part in parts if len(part)] or list(parts[:1]))
