"""tools/cluster.py: a folder of images in; tables, a report and a model out."""

import csv
import json

import numpy as np
import pytest
from helpers import run_tool
from PIL import Image

from cdc_mm.apis import clear_errors, clear_run_errors, cluster_folder

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
    settings = ('--store', tmp_path / 'store', '--image-size', '32', '--num-workers', '0')
    return run(*args, *settings)


def run(*args, tool='cluster'):
    return run_tool(f'tools/{tool}.py', *args, check=False)


def table(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    """Results of 20 images in three colours, one of them twice, and a broken one."""
    root = tmp_path_factory.mktemp('cluster')
    photos = fill(root / 'photos', 20)
    (photos / 'copy.png').write_bytes((photos / 'plain.png').read_bytes())
    (photos / 'broken.png').write_bytes(b'no image')
    done = cluster(root, photos, '--num-clusters', '3', '--out', root / 'out', '--folders', 'link')
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_writes_tables_report_model_and_links(out):
    root, printed = out
    assert '22 images, all 24 x 24 pixels, in colour' in printed
    assert '1 cannot be read and are left out' in printed and 'broken.png' in printed
    assert '1 are copies of others' in printed and 'about ' in printed
    rows = table(root / 'out/assignments.csv')
    assert len(rows) == 21
    by_name = {row['image']: row for row in rows}
    assert by_name["'=1+2.png"]['cluster'] in '012'  # a spreadsheet would run it
    assert by_name['plain.png']['duplicate_of'] == 'copy.png'
    colour = {NAMES[0]: 0, NAMES[1]: 1, NAMES[2]: 2, NAMES[4]: 1, NAMES[5]: 2}
    pairs = {(by_name[name]['cluster'], own) for name, own in colour.items()}
    assert len(pairs) == 3  # one cluster, one colour
    page = (root / 'out/report.html').read_text()
    assert 'photos: 3 clusters' in page and 'broken.png' in page
    links = [path for path in (root / 'out/clusters').rglob('*') if path.is_symlink()]
    assert len(links) == 21 and all(path.exists() for path in links)
    assert len(list((root / 'photos').rglob('*.png'))) == 22


def test_again_it_encodes_only_what_is_new(out, tmp_path):
    root, _ = out
    photos = fill(tmp_path / 'photos', 12)
    first = cluster(root, photos, '--num-clusters', '3', '--out', tmp_path / 'out')
    assert 'to encode 12 images' in first.stdout
    again = cluster(root, photos, '--num-clusters', '3', '--out', tmp_path / 'out')
    assert 'to encode 0 images (12 are known)' in again.stdout
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
        '--out', tmp_path / 'test.csv', '--work-dir', tmp_path / 'work', tool='test',
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr
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
    for before, after in zip(rows, named, strict=True):
        assert after['name'] == ['warm', 'warm', ''][int(before['cluster'])]


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
    ):
        done = run(*arguments)
        assert done.returncode == 2 and message in done.stderr
    assert (tmp_path / 'other/thesis.txt').read_text() == 'mine'
