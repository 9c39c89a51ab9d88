import gc
import json
import os
import random
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import adjusted_rand_score, pairwise_distances
from sklearn.utils.estimator_checks import parametrize_with_checks

import cdc_mm
from cdc_mm import ClusterInferencer, ImageClusterer
from cdc_mm.errors import RunError
from cdc_mm.folders import size_for, survey
from cdc_mm.folders.similar import compare_with_nearest

ONE = 'asks for one cluster, and one is none'
FLOAT32 = 'the heads compute in float32, and the check wants 1e-9'
UNMET = {
    'check_dont_overwrite_attributes': ONE,
    'check_dont_overwrite_parameters': ONE,
    'check_fit2d_1sample': ONE,
    'check_fit2d_1feature': ONE,
    'check_fit2d_predict1d': ONE,
    'check_methods_sample_order_invariance': FLOAT32,
    'check_methods_subset_invariance': FLOAT32,
}


@parametrize_with_checks(
    [ImageClusterer(n_clusters=3, epochs=20)], expected_failed_checks=lambda estimator: UNMET
)
def test_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope='module')
def blobs():
    return make_blobs(120, n_features=6, centers=3, random_state=1)


@pytest.fixture(scope='module')
def fitted(blobs):
    return ImageClusterer(3).fit(blobs[0])


def test_finds_blobs_and_describes_them(blobs, fitted):
    rows, labels = blobs
    assert adjusted_rand_score(labels, fitted.labels_) == 1
    assert fitted.labels_.tolist() == fitted.predict(rows).tolist()
    np.testing.assert_allclose(fitted.probabilities_.sum(axis=1), 1, rtol=1e-4)
    for k in range(3):
        own = fitted.points_[fitted.labels_ == k]
        np.testing.assert_allclose(fitted.cluster_centers_[k], own.mean(axis=0), rtol=1e-4)
    expected = pairwise_distances(fitted.points_, fitted.cluster_centers_)
    np.testing.assert_allclose(fitted.transform(rows), expected, rtol=1e-3, atol=1e-3)
    assert fitted.stability_.min() > 0.5 and fitted.sureness_['head_agreement'] > 0.9
    assert fitted.sureness_['linear_cv'] > 95
    first, last = (fitted.curves_['loss'][i] for i in (0, -1))
    assert last < first


def test_the_same_seed_gives_the_same_and_random_numbers_are_left_alone(blobs, fitted):
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    again = clone(fitted).fit(blobs[0])
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    np.testing.assert_array_equal(again.probabilities_, fitted.probabilities_)
    other = ImageClusterer(3, random_state=7).fit(blobs[0])
    assert not np.array_equal(other.probabilities_, fitted.probabilities_)


def test_no_file_stays_open_and_nothing_is_printed(blobs, capsys):
    ImageClusterer(3, epochs=1).fit(blobs[0])
    gc.collect()  # what a run leaves refers to itself
    opened = [os.readlink(link) for link in Path('/proc/self/fd').iterdir() if link.is_symlink()]
    assert [path for path in opened if path.startswith(f'{tempfile.gettempdir()}/cdc_mm')] == []
    assert capsys.readouterr() == ('', '')


def test_saved_and_loaded_it_predicts_the_same(tmp_path, blobs, fitted):
    fitted.save(tmp_path / 'model')
    again = ImageClusterer.load(tmp_path / 'model')
    np.testing.assert_array_equal(again.predict_proba(blobs[0]), fitted.probabilities_)
    np.testing.assert_allclose(again.transform(blobs[0]), fitted.transform(blobs[0]))
    assert again.labels_.tolist() == fitted.labels_.tolist()
    with pytest.raises(ValueError, match='a loaded model has no images to report'):
        again.report(tmp_path / 'report.html')
    (tmp_path / 'model/clusterer.json').write_text('{}')
    with pytest.raises(ValueError, match='is of another version, or not of cdc_mm'):
        ImageClusterer.load(tmp_path / 'model')
    with pytest.raises(FileNotFoundError, match='holds no model'):
        ImageClusterer.load(tmp_path)


def test_kinds_that_differ_much_in_number_are_told_apart_if_it_is_said(tmp_path):
    centers = np.repeat(5 * np.eye(4, 8), (240, 40, 30, 20), axis=0)
    rows = (centers + np.random.RandomState(0).randn(330, 8)).astype(np.float32)
    labels = np.repeat(np.arange(4), (240, 40, 30, 20))
    even, uneven = (ImageClusterer(4, balanced=b).fit(rows) for b in (True, False))
    assert adjusted_rand_score(labels, uneven.labels_) > 0.95
    assert adjusted_rand_score(labels, even.labels_) < 0.9
    uneven.save(tmp_path)
    again = ImageClusterer.load(tmp_path)
    assert again.balanced is False
    np.testing.assert_array_equal(again.predict_proba(rows), uneven.probabilities_)


def test_auto_finds_how_many(blobs):
    found = ImageClusterer('auto', epochs=20).fit(blobs[0])
    assert found.n_clusters_ == found.num_clusters_.best == 3
    assert found.cluster_centers_.shape[0] == 3
    with pytest.raises(ValueError, match='too few to say how many clusters'):
        ImageClusterer('auto').fit(blobs[0][:3])


def test_digits_are_ahead_of_kmeans():
    from sklearn.cluster import KMeans

    digits = load_digits()
    own = ImageClusterer(10).fit_predict(digits.data)
    other = KMeans(10, n_init=10, random_state=0).fit_predict(digits.data)
    scores = [adjusted_rand_score(digits.target, labels) for labels in (own, other)]
    assert scores[0] > scores[1] + 0.05


def pictures(count, seed=0):
    """Noisy stripes of red, chequers of green and plain blue, in turn."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (count, 24, 24, 3), dtype=np.uint8)
    rows, columns = np.indices((24, 24)) // 4 % 2
    shapes = rows, rows ^ columns, np.ones_like(rows)
    for i in range(count):
        pixels[i, ..., i % 3] += (180 * shapes[i % 3]).astype(np.uint8)
    return pixels


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('photos')
    (root / 'nested').mkdir()
    for i, pixels in enumerate(pictures(24)):
        name = f'nested/{i:02d}.png' if i % 2 else f'{i:02d}.png'
        Image.fromarray(pixels).save(root / name)
    (root / 'broken.png').write_bytes(b'no image')
    return root


def make(store, **kwargs):
    # Of 32 pixels the default network sees too little.
    options = dict(encoder='lite0', image_size=32, epochs=30, store_dir=str(store), num_workers=0)
    return ImageClusterer(3, **{**options, **kwargs})


@pytest.fixture(scope='module')
def of_folder(folder, tmp_path_factory):
    return make(tmp_path_factory.mktemp('store')).fit(folder)


def test_small_images_are_seen_at_192_pixels_and_others_at_224(tmp_path):
    assert [size_for(edge) for edge in (1, 192, 193, 4000)] == [192, 192, 224, 224]
    images = list(pictures(6))
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f'{i}.png')
    given = dict(epochs=1, num_workers=0, store_dir=str(tmp_path / 'store'))
    for photos in (tmp_path, images):
        assert ImageClusterer(3, **given).fit(photos).image_size_ == 192


def test_a_folder_and_its_pictures_in_memory_are_the_same(folder, of_folder, tmp_path):
    assert len(of_folder.paths_) == 24 and 'broken.png' not in of_folder.paths_
    numbers = np.array([int(path[-6:-4]) for path in of_folder.paths_])
    assert adjusted_rand_score(numbers % 3, of_folder.labels_) == 1
    paths = [folder / path for path in of_folder.paths_]
    opened = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(image) for image in opened])
    for given in (folder, [str(p) for p in paths], paths, opened, arrays, list(arrays)):
        np.testing.assert_allclose(
            of_folder.predict_proba(given), of_folder.probabilities_, atol=1e-3
        )
    in_memory = make(tmp_path).fit(arrays)
    np.testing.assert_allclose(in_memory.encode(arrays), of_folder.encode(folder), atol=1e-3)
    assert adjusted_rand_score(in_memory.labels_, of_folder.labels_) == 1


def test_a_saved_model_assigns_new_images(of_folder, tmp_path):
    of_folder.save(tmp_path / 'model')
    find = ClusterInferencer(tmp_path / 'model')
    new = pictures(6, seed=1)
    found = find(new)
    assert [each['cluster'] for each in found] == of_folder.predict(new).tolist()
    Image.fromarray(new[4]).save(tmp_path / 'new.png')
    for one in (new[4], Image.fromarray(new[4]), tmp_path / 'new.png', str(tmp_path / 'new.png')):
        (each,) = find(one)
        assert each['cluster'] == found[4]['cluster']
        assert each['confidence'] == each['probabilities'].max()
        np.testing.assert_allclose(each['probabilities'], found[4]['probabilities'], atol=1e-4)


def test_grey_and_transparent_pictures_are_seen_in_rgb(of_folder):
    grey = pictures(2)[..., 0]
    rgba = Image.fromarray(pictures(1)[0]).convert('RGBA')
    assert of_folder.predict(grey).tolist() == of_folder.predict(grey[..., None]).tolist()
    assert of_folder.predict([rgba]).tolist() == of_folder.predict(pictures(1)).tolist()


def test_the_page(of_folder, tmp_path):
    of_folder.report(tmp_path / 'report.html', title='Red & green')
    page = (tmp_path / 'report.html').read_text()
    assert 'Red &amp; green' in page and 'Agreement of the heads' in page


def test_equal_pictures_are_told(tmp_path):
    given = pictures(12)
    given[7] = given[9] = given[1]
    found = make(tmp_path).fit(given)
    assert found.duplicate_of_.tolist() == [1 if i in (7, 9) else -1 for i in range(12)]
    assert found.nearest_similarity_[7] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('size', [3, 4096])
def test_near_pairs_are_those_of_all_pairs(monkeypatch, size):
    monkeypatch.setattr('cdc_mm.folders.image_clusterer._ROWS', size)
    rng = np.random.RandomState(0)
    rows = rng.randn(12, 6)[rng.randint(0, 12, 40)] + 0.12 * rng.randn(40, 6)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T - 2 * np.eye(40)
    nearest = np.argsort(-cosine, axis=1)[:, :39]
    similarity, pairs, same = compare_with_nearest(rows, nearest)
    expected = {(i, j) for i in range(40) for j in range(40) if cosine[i, j] > 0.95}
    assert len(expected) > 20 and set(map(tuple, pairs.tolist())) == expected
    np.testing.assert_allclose(similarity, cosine.max(axis=1), atol=1e-6)
    assert (same == -1).all()
    similarity, pairs, _ = compare_with_nearest(rows, nearest[:, :0])  # not looked for
    assert np.isnan(similarity).all() and pairs.shape == (0, 2)


def test_refusals(tmp_path, blobs, fitted, of_folder):
    for value in (1, 0, 2.5, True, 'many'):
        with pytest.raises(ValueError, match="n_clusters must be a whole number from 2, or 'auto'"):
            ImageClusterer(value).fit(blobs[0])
    for kwargs, message in (
        (dict(epochs=0), 'epochs must be at least 1, got 0'),
        (dict(finetune_epochs=-1), 'finetune_epochs must be at least 0, got -1'),
        (dict(finetune_epochs=1), 'finetune_epochs needs a folder of images'),
        (dict(image_size=8), 'image_size must be at least 16, got 8'),
    ):
        with pytest.raises(ValueError, match=message):
            ImageClusterer(3, **kwargs).fit(blobs[0])
    with pytest.raises(ValueError, match='2 images cannot be clustered into 3 clusters'):
        ImageClusterer(3).fit(blobs[0][:2])
    with pytest.raises(ValueError, match='only 1 of 9 images differ'):
        ImageClusterer(3).fit(np.ones((9, 4)))
    with pytest.raises(FileNotFoundError, match='no such folder'):
        make(tmp_path).fit(tmp_path / 'missing')
    (tmp_path / 'file.png').write_bytes(b'')
    with pytest.raises(ValueError, match='is a file: give a folder of images, or a list'):
        make(tmp_path).fit(tmp_path / 'file.png')
    with pytest.raises(RunError, match='file\\.png is no image that can be read'):
        make(tmp_path).fit([tmp_path / 'file.png'] * 5)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no images'):
        make(tmp_path).fit(tmp_path / 'empty')
    with pytest.raises(ValueError, match='images must be an array of uint8'):
        make(tmp_path).fit(pictures(5) / 255)
    with pytest.raises(ValueError, match='given rows of features: it knows no images'):
        fitted.predict(pictures(3))
    with pytest.raises(ValueError, match='6 features, but ImageClusterer is expecting'):
        of_folder.predict(blobs[0])
    with pytest.raises(ValueError, match='whose clusters are of equal size: leave out'):
        make(tmp_path, finetune_epochs=1, balanced=False).fit(pictures(5))
    with pytest.raises(ValueError, match="unknown encoder 'resnet9000'"):
        make(tmp_path, encoder='resnet9000').fit(pictures(5))
    with pytest.raises(AttributeError, match="no attribute 'Clusterer'"):
        cdc_mm.Clusterer  # noqa: B018


def test_a_model_of_a_stranger_runs_no_code(tmp_path, fitted):
    fitted.save(tmp_path / 'model')
    good = json.loads((tmp_path / 'model/config.json').read_text())
    touch = dict(type='os.system', command=f'touch {tmp_path / "ran"}')
    for change in (
        dict(model=dict(good['model'], loss=touch)),
        dict(model=dict(good['model'], backbone=touch)),
        dict(model=touch),
        dict(data_preprocessor=touch),
        dict(model=dict(good['model'], _scope_='os')),
        dict(model=dict(good['model'], backbone=dict(type='AutoModelForCausalLM'))),
    ):
        (tmp_path / 'model/config.json').write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=r'is damaged: its config names'):
            ImageClusterer.load(tmp_path / 'model')
    assert not (tmp_path / 'ran').exists()
    (tmp_path / 'model/config.json').write_text(
        json.dumps(dict(good, custom_imports=['antigravity']))
    )
    ImageClusterer.load(tmp_path / 'model')


def test_a_damaged_model_is_told(tmp_path, fitted):
    fitted.save(tmp_path / 'model')
    files = {path.name: path.read_bytes() for path in (tmp_path / 'model').iterdir()}
    assert len(files) == 4
    about = json.loads(files['clusterer.json'])
    damages = [(name, files[name][:100]) for name in files] + [
        ('clusterer.json', json.dumps(dict(about, **change)).encode())
        for change in (
            dict(n_clusters=7), dict(feat_dim=7), dict(image_size='a'), dict(parameters=dict(x=1)),
            dict(parameters=None),
        )
    ]  # fmt: skip
    for name, content in damages:
        (tmp_path / 'model' / name).write_bytes(content)
        with pytest.raises(ValueError, match='damaged'):
            ImageClusterer.load(tmp_path / 'model')
        (tmp_path / 'model' / name).write_bytes(files[name])
    (tmp_path / 'model/config.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'config\.json'):
        ImageClusterer.load(tmp_path / 'model')
    with pytest.raises(RunError, match='could not write'):
        fitted.save(tmp_path / 'model/model.pth')


def test_numbers_of_numpy_and_paths_are_saved(tmp_path, blobs):
    found = ImageClusterer(np.int64(3), epochs=np.int64(1), store_dir=tmp_path).fit(blobs[0])
    found.save(tmp_path / 'model')
    again = ImageClusterer.load(tmp_path / 'model')
    assert again.n_clusters == again.n_clusters_ == 3
    assert again.store_dir == str(tmp_path)


def test_fits_in_threads_and_within_a_second_do_not_mix(blobs, monkeypatch):
    # mmengine names runs by it; what is left of one of that name makes the next one warn, or fail.
    monkeypatch.setattr('mmengine.runner.runner.time.time', lambda: 1e9)

    def fit(_):
        return ImageClusterer(3, epochs=1).fit(blobs[0]).probabilities_

    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        wanted = fit(0)
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(fit, range(3)))
    for each in found:
        np.testing.assert_array_equal(each, wanted)


class Column:
    """As pandas has it: its indices do not start at 0."""

    ndim = 1

    def __init__(self, values):
        self.values = values

    def __array__(self, *args, **kwargs):
        return np.array(self.values, object)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, index):
        return self.values[index - 5]


def test_iterators_columns_and_mixed_lists(of_folder, folder, tmp_path):
    paths = [str(folder / path) for path in of_folder.paths_[:6]]
    wanted = of_folder.predict(paths).tolist()
    mixed = [Path(paths[0]), Image.open(paths[1]), np.asarray(Image.open(paths[2])), *paths[3:]]
    column = Column(paths)
    tensor = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in paths]))
    for given in (iter(paths), (path for path in paths), np.array(paths), column, mixed, tensor):
        assert of_folder.predict(given).tolist() == wanted
    twice = make(tmp_path, epochs=1).fit([*paths, paths[0]])
    twice.report(tmp_path / 'report.html')
    channels_first = pictures(5).transpose(0, 3, 1, 2)
    for given, message in (
        ([], 'the list is empty'),
        (Image.open(paths[0]), 'one image is given: put it into a list'),
        (channels_first, r'images must be an array of uint8, .* of shape \(5, 3, 24, 24\)'),
    ):
        with pytest.raises(ValueError, match=message):
            of_folder.predict(given)
    for given in (list(channels_first), [*paths, None], list(pictures(3) / 255)):
        with pytest.raises(RunError, match='is no image that can be read'):
            of_folder.predict(given)


def test_a_new_fit_takes_the_new_network(tmp_path):
    found = make(tmp_path, epochs=1).fit(pictures(6))
    found.set_params(encoder='timm:test_resnet.r160_in1k', weights=str(tmp_path / 'gone.pth'))
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        found.fit(pictures(6))
    import timm

    torch.save(timm.create_model('test_resnet').state_dict(), tmp_path / 'gone.pth')
    found.fit(pictures(6))
    assert found.feat_dim_ != 1280 and found.encode(pictures(2)).shape == (2, found.feat_dim_)
    for i, pixels in enumerate(pictures(6)):
        (tmp_path / 'photos').mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f'photos/{i}.png')
    # The model has its network; the file may be gone, and rows that it made are known.
    found.fit(tmp_path / 'photos').save(tmp_path / 'model')
    (tmp_path / 'gone.pth').unlink()
    stores = sorted(path.name for path in tmp_path.glob('encoder_*'))
    again = ImageClusterer.load(tmp_path / 'model').assign(tmp_path / 'photos')
    np.testing.assert_allclose(again.probabilities_, found.probabilities_, rtol=1e-4)
    assert sorted(path.name for path in tmp_path.glob('encoder_*')) == stores


def test_given_one_by_one_images_are_seen_as_those_of_a_folder(of_folder, tmp_path):
    deep = (pictures(1)[0, ..., 0].astype(np.uint16)) * 257
    clear = np.dstack([pictures(1)[0], np.full((24, 24), 60, np.uint8)])
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    Image.fromarray(clear).save(tmp_path / 'clear.png')
    with Image.open(tmp_path / 'deep.png') as opened:
        assert opened.mode.startswith('I')
    rows = of_folder.encode(tmp_path)
    paths = [tmp_path / 'clear.png', tmp_path / 'deep.png']
    for given in (paths, [Image.open(path) for path in paths]):
        np.testing.assert_allclose(of_folder.encode(given), rows, atol=1e-3)
    np.testing.assert_allclose(of_folder.encode([clear])[0], rows[0], atol=1e-3)


def test_what_is_named_an_image_is_never_run_by_ghostscript(of_folder, tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n')
    with Image.open(tmp_path / 'x.jpg') as image:
        assert image.format == 'EPS'
    with pytest.raises(RunError, match='no image of a known format'):
        of_folder.predict([tmp_path / 'x.jpg'])
    assert survey(str(tmp_path)).broken.all()
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(RunError, match='no regular file'):
        of_folder.predict([tmp_path / 'pipe.png'])


def test_a_folder_may_be_named_from_home(of_folder, folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    found = of_folder.predict(f'~/{folder.name}')
    assert found.tolist() == of_folder.labels_.tolist()
