import csv

import numpy as np
import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

N, K = 7, 3
SCORES = torch.softmax(torch.from_numpy(np.random.RandomState(0).randn(N, K)) * 3, dim=1)
NAMES = ['a.jpg', 'b, c.jpg', '"d".jpg', 'é/ß.jpg', 'raw\udcff.jpg', '', 'g.jpg']


def dump(path, indices, with_path=True):
    metric = METRICS.build(dict(type='DumpClusters', out_file_path=str(path)))
    samples = []
    for i in indices:
        info = dict(sample_idx=i, img_path=f'data/{NAMES[i]}') if with_path else dict(sample_idx=i)
        sample = DataSample(metainfo=info).set_pred_score(SCORES[i])
        samples.append(sample.set_pred_label(SCORES[i].argmax()).to_dict())
    for start in range(0, len(samples), 3):
        metric.process({}, samples[start : start + 3])
    assert metric.evaluate(N) == {}


def read(path):
    with open(path, newline='', encoding='utf-8', errors='surrogateescape') as file:
        return list(csv.DictReader(file))


def check(rows):
    assert [row['image'] for row in rows] == [f'data/{name}' for name in NAMES]
    assert [int(row['cluster']) for row in rows] == SCORES.argmax(1).tolist()
    written = torch.tensor([float(row['confidence']) for row in rows], dtype=SCORES.dtype)
    torch.testing.assert_close(written, SCORES.max(1).values, rtol=0, atol=6e-5)


def test_a_row_for_each_image(tmp_path):
    path = tmp_path / 'new' / 'clusters.csv'
    dump(path, range(N))
    check(read(path))


def test_images_without_a_file_go_by_index(tmp_path):
    dump(tmp_path / 'clusters.csv', range(N), with_path=False)
    assert [row['image'] for row in read(tmp_path / 'clusters.csv')] == list('0123456')


def test_the_same_as_arrays(tmp_path):
    dump(tmp_path / 'clusters.npz', range(N))
    with np.load(tmp_path / 'clusters.npz', allow_pickle=False) as kept:
        assert kept['image'].tolist() == [f'data/{name}' for name in NAMES]
        assert kept['cluster'].tolist() == SCORES.argmax(1).tolist()
        np.testing.assert_allclose(kept['confidence'], SCORES.max(1).values, rtol=1e-6)


def _dump_rank(rank, world_size, path):
    # As mmengine's DefaultSampler deals samples out: padded to equal parts from the beginning.
    dump(path, [*range(N), 0][rank::world_size])


def test_two_ranks_write_each_image_once_and_in_order(tmp_path):
    run_ranks(2, _dump_rank, tmp_path / 'clusters.csv')
    check(read(tmp_path / 'clusters.csv'))


def test_refuses_other_files():
    with pytest.raises(ValueError, match=r'must be a \.csv or \.npz file, got clusters\.txt'):
        METRICS.build(dict(type='DumpClusters', out_file_path='clusters.txt'))


def test_an_image_that_could_not_be_read_has_no_cluster(tmp_path):
    metric = METRICS.build(dict(type='DumpClusters', out_file_path=str(tmp_path / 'x.csv')))
    for shape in ((0, 0), (8, 8)):
        info = dict(img_path=f'{shape[0]}.jpg', ori_shape=shape)
        sample = DataSample(metainfo=info).set_pred_score(SCORES[0])
        metric.process({}, [sample.set_pred_label(SCORES[0].argmax()).to_dict()])
    metric.evaluate(2)
    blank, whole = read(tmp_path / 'x.csv')
    assert blank == dict(image='0.jpg', cluster='', confidence='')
    assert whole['cluster'] == str(int(SCORES[0].argmax()))


def test_an_array_has_minus_one_there(tmp_path):
    metric = METRICS.build(dict(type='DumpClusters', out_file_path=str(tmp_path / 'x.npz')))
    for shape in ((0, 0), (8, 8)):
        sample = DataSample(metainfo=dict(ori_shape=shape, sample_idx=5)).set_pred_score(SCORES[0])
        metric.process({}, [sample.set_pred_label(SCORES[0].argmax()).to_dict()])
    metric.evaluate(2)
    with np.load(tmp_path / 'x.npz', allow_pickle=False) as kept:
        assert kept['cluster'].tolist() == [-1, int(SCORES[0].argmax())]
        assert kept['confidence'][0] == 0


def test_it_does_not_warn_of_itself(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.evaluator.metric.print_log', lambda text, **_: said.append(text))
    METRICS.build(dict(type='DumpClusters', out_file_path=str(tmp_path / 'x.csv')))
    assert not said
