import json

import pytest

from cdc_mm.apis import read_validation


def write_log(work_dir, stamp, lines):
    path = work_dir / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(line) for line in lines))


def validation(step, acc):
    return {'clustering/acc': acc, 'step': step}


def training(epoch):
    return {'loss': 1.0, 'acc': 7.0, 'epoch': epoch, 'iter': 10 * epoch, 'step': 10 * epoch}


def test_what_a_resumed_training_repeats_replaces_the_first_log(tmp_path):
    first = [training(10), validation(10, 50.0), training(20), validation(20, 60.0)]
    write_log(tmp_path, '20260101_000000', [*first, training(30), validation(30, 1.0)])
    write_log(tmp_path, '20260102_000000', [training(30), validation(30, 70.0)])
    write_log(tmp_path, '20260103_000000', [])
    assert read_validation(str(tmp_path), ['acc']) == {'acc': ([10, 20, 30], [50.0, 60.0, 70.0])}


def test_a_training_begun_anew_replaces_the_old_one(tmp_path):
    write_log(tmp_path, '20260101_000000', [validation(10, 1.0), validation(20, 2.0)])
    write_log(tmp_path, '20260102_000000', [validation(10, 50.0)])
    assert read_validation(str(tmp_path), ['acc']) == {'acc': ([10], [50.0])}


def test_a_missing_metric_is_named(tmp_path):
    with pytest.raises(ValueError, match='no validation with acc; it has none at all'):
        read_validation(str(tmp_path), ['acc'])
    write_log(tmp_path, '20260101_000000', [validation(10, 1.0)])
    with pytest.raises(ValueError, match='no validation with nmi; it has acc'):
        read_validation(str(tmp_path), ['acc', 'nmi'])
