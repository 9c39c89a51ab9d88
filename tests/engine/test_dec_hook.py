import numpy as np
import pytest
import torch
from helpers import make_runner
from sklearn.cluster import KMeans

from cdc_mm.checkpoints import read_state_dict
from cdc_mm.models.losses import target_distribution

MODEL = dict(type='DEC', num_clusters=4, in_channels=64, widths=(16,), code_dim=3)
DIGITS = dict(type='Digits', pipeline=[dict(type='PackInputs')])


def make_dec(work_dir, epochs=3, pretrain_epochs=1, model=MODEL, count=100, **kwargs):
    hook = dict(type='DECHook', pretrain_epochs=pretrain_epochs)
    return make_runner(
        work_dir, model, views=('weak',), epochs=epochs, custom_hooks=[hook],
        dataset={split: dict(DIGITS, split=split, indices=count) for split in ('train', 'test')},
        train_dataloader=dict(batch_size=50),
        **{'data_preprocessor.views': dict(_delete_=True, view1=[]), **kwargs},
    )  # fmt: skip


def codes_of(model, runner):
    images = [runner.train_dataloader.dataset[i] for i in range(100)]
    batch = dict(inputs=torch.stack([image['inputs'] for image in images]))
    with torch.no_grad():
        return model.codes(model.encode(model.data_preprocessor(batch, False)['inputs'])).double()


def test_centres_are_those_of_kmeans_and_targets_of_all_images(tmp_path, monkeypatch):
    runner = make_dec(tmp_path, epochs=2)
    model, seen = runner.model, {}
    plain = type(model).loss

    def look(self, batch):
        if not self.pretraining and not seen:
            seen.update(codes=codes_of(self, runner), centers=self.centers.detach().clone())
            seen.update(targets=self.soft_targets.clone(), numbers=batch['sample_idx'])
        return plain(self, batch)

    monkeypatch.setattr(type(model), 'loss', look)
    runner.train()
    codes = seen['codes'].numpy()
    expected = KMeans(4, n_init=20, random_state=1).fit(codes).cluster_centers_
    nearest = np.abs(seen['centers'].numpy()[:, None] - expected).max(axis=2)
    assert sorted(nearest.argmin(axis=1)) == [0, 1, 2, 3] and nearest.min(axis=1).max() < 0.05
    squares = ((codes[:, None] - seen['centers'].numpy()) ** 2).sum(axis=2)
    q = 1 / (1 + squares)
    q = torch.from_numpy(q / q.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(seen['targets'], target_distribution(q), rtol=1e-3, atol=1e-5)
    assert not torch.equal(model.centers, seen['centers'])


def test_a_resumed_training_equals_one_that_was_not_interrupted(tmp_path):
    make_dec(tmp_path / 'whole').train()
    make_dec(tmp_path / 'part', epochs=2).train()
    make_dec(tmp_path / 'part', resume=True).train()
    whole, part = (
        read_state_dict(str(tmp_path / name / 'epoch_3.pth')) for name in ('whole', 'part')
    )
    assert whole.keys() == part.keys() and 'soft_targets' in whole
    assert all(torch.equal(value, part[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(pretrain_epochs=3), 'after pretrain_epochs=3 of 3 epochs none is left'),
        (dict(pretrain_epochs=0), 'pretrain_epochs must be at least 1, got 0'),
        (
            dict(model=dict(type='TURTLE', num_clusters=4, in_channels=64)),
            'DECHook drives a DEC, and the model is a TURTLE',
        ),
    ],
)
def test_refuses_what_it_cannot_do(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_dec(tmp_path, **options).train()


def test_fewer_different_codes_than_clusters_are_refused(tmp_path):
    runner = make_dec(tmp_path, epochs=2)
    runner.model.codes = lambda rows: torch.ones(len(rows), 3)
    runner.model.coder = None
    runner.model.loss = lambda batch: dict(loss=sum(p.sum() for p in runner.model.parameters()) * 0)
    with pytest.raises(RuntimeError, match='only 1 different ones, which cannot be clustered'):
        runner.train()
