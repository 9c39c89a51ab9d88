from itertools import islice
from typing import Iterator, List, Sequence

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.registry import HOOKS

from cdc_mm.datasets.seeding import seed_all, seeded

from ..resuming import continue_schedule


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed training equal to one that was never interrupted, to the last bit on a CPU.

    Random numbers follow from where they are drawn, not from what was drawn before, so that no
    state of a generator need be saved. In the training loop they depend on the seed, the rank and
    the iteration; in the data pipeline on the images of the batch and their order, which the
    sampler draws anew each epoch, whichever worker loads it (a sampler that does not shuffle thus
    gives the same augmentations every epoch).

    A checkpoint from within an epoch goes on with the batch after it, where mmengine would begin
    the epoch anew. Seed, batch size and number of ranks must stay the same. The schedule may
    change, see :func:`cdc_mm.engine.resuming.continue_schedule`.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._epoch_length = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note the number of images and of batches in an epoch."""
        loader = runner.train_dataloader
        checkpoint['meta'].update(epoch_length=len(loader), images=len(loader.dataset))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read how many batches an epoch had, and go on with the schedule of the config."""
        meta = checkpoint.get('meta', {})
        before = self._epoch_length = meta.get('epoch_length')
        if not runner._resume or 'iter' not in meta:
            return
        if before is not None and meta['iter'] == meta['epoch'] * before:
            self._epoch_length = None
        continue_schedule(runner, checkpoint)

    def before_train(self, runner) -> None:
        """Let random numbers in the data pipeline follow from the batch."""
        dataset = runner.train_dataloader.dataset
        # torch's fetcher asks for a whole batch where a dataset has this method.
        dataset.__getitems__ = _SeededFetch(dataset)

    def before_train_epoch(self, runner) -> None:
        """Leave out the batches of the epoch that the checkpoint has seen."""
        batches = runner.train_dataloader.batch_sampler
        if isinstance(batches.sampler, _Rest):
            batches.sampler = batches.sampler.sampler
        before, self._epoch_length = self._epoch_length, None
        if before is None or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return  # mmengine's loop by iterations replays the batches itself
        done, now = runner.iter - runner.epoch * before, len(runner.train_dataloader)
        if done == 0:
            return
        if before != now:
            runner.logger.warning(
                f'The checkpoint is from within an epoch of {before} batches. Now there are {now}: '
                'the epoch begins anew.'
            )
            return
        runner.logger.info(f'Going on after batch {done} of {now} of the epoch.')
        batches.sampler = _Rest(batches.sampler, done * batches.batch_size)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed all generators for the iteration."""
        seed_all([runner.seed, get_rank(), runner.iter])


class _Rest:
    """A sampler without its first ``skipped`` samples."""

    def __init__(self, sampler: Sequence[int], skipped: int) -> None:
        self.sampler = sampler
        self.skipped = skipped

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self.sampler), self.skipped, None)

    def __len__(self) -> int:
        return len(self.sampler)


class _SeededFetch:
    """Loads a batch with random numbers of its own and leaves the generators as they were."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __call__(self, indices: List[int]) -> list:
        with seeded(indices):
            # The method of the class: that of the object is this one.
            fetch = getattr(type(self.dataset), '__getitems__', None)
            if fetch is not None:
                return fetch(self.dataset, indices)
            return [self.dataset[index] for index in indices]
