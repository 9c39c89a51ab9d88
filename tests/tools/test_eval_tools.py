"""kNN, k-means, SVMs and linear classifiers on the features of a checkpoint."""

import csv
import json
import shutil

import generated
import numpy as np
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL
from mmengine.config import Config
from mmpretrain.registry import MODELS
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

import cdc_mm.apis as apis

NETWORK = SMALL[:4]
LINEAR = ('model.backbone.channels=[4,4,4,8]', 'model.head.in_channels=8')


@pytest.fixture(scope='module')
def features(trained, tmp_path_factory):
    """Checkpoint, folder of the cache, and the features and labels that the tools must use."""
    checkpoint = str(trained[0] / 'epoch_2.pth')
    cache = tmp_path_factory.mktemp('cache')
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.merge_from_dict({'model.backbone.channels': [4, 4, 4, 8], 'model.neck.in_channels': 8})
    cfg.model.queue_size = 100
    extract = apis.FeatureExtractor(cfg, checkpoint, cache_dir=cache / 'own')
    rows = {split: np.array(extract(split).rows) for split in ('train', 'test')}
    return checkpoint, cache, rows, extract.labels


def test_knn(features, tmp_path, call, capsys):
    checkpoint, cache, rows, labels = features
    call('eval_knn', CONFIG, checkpoint, '--k', 30, '--temperatures', 0.1, '--cache-dir', cache,
         '--out', tmp_path / 'knn.json', options=NETWORK)  # fmt: skip
    reference = KNeighborsClassifier(
        30, metric='cosine', algorithm='brute', weights=lambda d: np.exp((1 - d) / 0.1)
    ).fit(rows['train'], labels['train'])
    expected = 100 * reference.score(rows['test'], labels['test'])
    result = json.loads((tmp_path / 'knn.json').read_text())
    # A tie that rounding decides may move an image.
    assert result['top1_t0.1'] == pytest.approx(expected, abs=0.6) and expected > 30
    assert result['num_samples'] == 360
    output = capsys.readouterr().out
    assert '30 nearest of 1437 labelled training images, 360 test images' in output
    assert f'temperature 0.1: {result["top1_t0.1"]:.1f} %' in output


def test_kmeans(features, tmp_path, call, capsys):
    checkpoint, cache, rows, labels = features
    call('eval_kmeans', CONFIG, checkpoint, '--cache-dir', cache, '--restarts', 3,
         '--out', tmp_path / 'kmeans.json', options=NETWORK)  # fmt: skip
    unit = {split: normalize(value) for split, value in rows.items()}
    clusters = KMeans(10, n_init=3, random_state=0).fit(unit['train']).predict(unit['test'])
    result = json.loads((tmp_path / 'kmeans.json').read_text())
    expected = 100 * normalized_mutual_info_score(labels['test'], clusters)
    assert result['nmi'] == pytest.approx(expected, abs=1) and expected > 20
    assert result['num_clusters'] == 10 and sum(result['cluster_sizes']) == 360
    assert f'NMI {result["nmi"]:.1f}' in capsys.readouterr().out


def test_kmeans_of_a_folder_without_labels(tmp_path, call, capsys):
    """Fifteen light and ten dark images: which is which is written down, but of a broken one."""
    rng = np.random.RandomState(0)
    (tmp_path / 'images').mkdir()
    for i in range(25):
        pixels = rng.randint(60, size=(32, 32, 3)) + (190 if i % 5 < 3 else 0)
        image = generated.Image.fromarray(pixels.astype(np.uint8))
        image.save(tmp_path / 'images' / f'{i:02d}.png')
    (tmp_path / 'images' / '25.png').write_bytes(b'no image')
    options = ['model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
               'model.neck.in_channels=32', 'model.head.num_clusters=2',
               'test_dataloader.dataset.pipeline.0.on_error=blank']  # fmt: skip
    for field in ('train', 'val', 'test'):
        options += [f'{field}_dataloader.dataset.data_root={tmp_path / "images"}',
                    f'{field}_dataloader.num_workers=0']  # fmt: skip
    cfg = Config.fromfile(ROOT / 'configs/cdc_r18_folder.py')
    torch.manual_seed(0)
    backbone = MODELS.build(dict(cfg.model.backbone, stem_channels=4, base_channels=4))
    torch.save({f'backbone.{k}': v for k, v in backbone.state_dict().items()}, tmp_path / 'x.pth')
    call('eval_kmeans', 'configs/cdc_r18_folder.py', tmp_path / 'x.pth', '--cache-dir', tmp_path,
         '--clusters', tmp_path / 'new' / 'clusters.csv', options=options)  # fmt: skip
    assert 'no labels; sizes of the clusters: [' in capsys.readouterr().out
    with open(tmp_path / 'new' / 'clusters.csv', newline='') as file:
        table = list(csv.reader(file))
    assert table[0] == ['image', 'cluster']
    assert [row[0] for row in table[1:]] == [
        str(tmp_path / 'images' / f'{i:02d}.png') for i in range(25)
    ]
    light = table[1][1]
    assert [row[1] == light for row in table[1:]] == [i % 5 < 3 for i in range(25)]


@pytest.mark.parametrize(
    ('tool', 'args', 'message'),
    [
        ('eval_knn', ('--k', 1438), '1437 of the 1437 training images have a label, and 1438'),
        ('eval_kmeans', ('--num-clusters', 2000), 'between 2 and the 1437 training images'),
        ('eval_voc07_svm', (), 'the training data is not multi-label'),
    ],
)
def test_mistakes_show_before_work(features, tmp_path, call, tool, args, message):
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        call(tool, CONFIG, features[0], '--cache-dir', tmp_path / 'c', *args, options=NETWORK)
    assert not (tmp_path / 'c').exists()


def test_kmeans_of_copies(features, tmp_path, call):
    copies = 'train_dataloader.dataset.indices=[0,1,0,1,2,2,2,2]'
    with pytest.raises(SystemExit, match='K=4 is more than the 3 different rows of 8 images'):
        call('eval_kmeans', CONFIG, features[0], '--num-clusters', 4, '--cache-dir', tmp_path,
             options=(*NETWORK, copies))  # fmt: skip


def test_linear_classifier_of_a_cdc_checkpoint(features, tmp_path, call):
    config = 'configs/linear/linear_digits.py'
    call('train', config, '--work-dir', tmp_path, options=(
        *LINEAR, f'load_from={features[0]}', 'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1',
    ))  # fmt: skip
    call('test', config, tmp_path / 'epoch_1.pth', '--work-dir', tmp_path, '--out',
         tmp_path / 'x.json', '--out-item', 'metrics', options=LINEAR)  # fmt: skip
    lines = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    validated = [json.loads(line).get('accuracy/top1') for line in lines]
    assert json.loads((tmp_path / 'x.json').read_text())['accuracy/top1'] == validated[-1]
    before, after = (
        apis.read_state_dict(str(path)) for path in (features[0], tmp_path / 'epoch_1.pth')
    )
    for name, value in after.items():
        assert name.startswith('head.') or torch.equal(value, before[f'encoder.{name}'])


def test_linear_classifier_refuses_what_does_not_fill_the_backbone(features, tmp_path, call):
    config = 'configs/linear/linear_digits.py'
    state = apis.read_state_dict(features[0])
    half = {k: v for k, v in state.items() if not k.startswith('encoder.backbone.layers.3.')}
    torch.save(half, tmp_path / 'half.pth')
    with pytest.raises(SystemExit, match='fills 15 of the 20 weights'):
        call('train', config, '--work-dir', tmp_path,
             options=(*LINEAR, f'load_from={tmp_path / "half.pth"}'))  # fmt: skip
    with pytest.raises(SystemExit, match='name its checkpoint'):
        call('train', config, '--work-dir', tmp_path, options=LINEAR)


@pytest.fixture
def voc(tmp_path, monkeypatch):
    """Twelve images whose left half is red where there is a dog, a network and its checkpoint."""
    monkeypatch.setattr(generated, 'VOC_OBJECTS', {})
    root = generated.voc(tmp_path / 'voc')
    rng = np.random.RandomState(0)
    names = [f'{i:06d}' for i in range(12)]
    for i, name in enumerate(names):
        pixels = rng.randint(60, size=(300, 300, 3), dtype=np.uint8)
        pixels[:, :150, 0] += np.uint8(120 * (i % 2))
        generated.Image.fromarray(pixels).save(root / 'JPEGImages' / f'{name}.jpg')
        objects = ['person'] * (i % 3 > 0) + ['dog'] * (i % 2)
        entries = ''.join(f'<object><name>{label}</name></object>' for label in objects)
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{entries}</annotation>')
    for split, part in (('trainval', names[:8]), ('test', names[6:])):
        (root / 'ImageSets/Main' / f'{split}.txt').write_text('\n'.join(part))
    options = ['model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
               'model.backbone.depth=18', 'model.head.in_channels=32']  # fmt: skip
    for field in ('train', 'val', 'test'):
        options += [f'{field}_dataloader.dataset.data_root={root}',
                    f'{field}_dataloader.num_workers=0']  # fmt: skip
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type='ResNet', depth=18, stem_channels=4, base_channels=4))
    # A foreign file: MoCo v2's layout.
    state = {f'module.encoder_q.{k}': v for k, v in backbone.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'moco.pth')
    return root, tmp_path / 'moco.pth', options


def test_voc07_svm(voc, tmp_path, call, capsys):
    _, checkpoint, options = voc
    call('eval_voc07_svm', 'configs/linear/linear_r50_voc07_svm.py', checkpoint, '--cache-dir',
         tmp_path / 'c', '--low-shot', '--shots', 1, 2, '--draws', 2,
         '--out', tmp_path / 'svm.json', options=options)  # fmt: skip
    result = json.loads((tmp_path / 'svm.json').read_text())
    assert result['num_samples'] == 6 and sorted(result['low_shot']) == ['1', '2']
    assert all(len(runs) == 2 for runs in result['low_shot'].values())
    full = result['full']
    assert full['class_ap'][11] == pytest.approx(100)  # dog: red
    assert np.isnan(full['class_ap'][0]) and full['class_map'] == pytest.approx(
        np.nanmean(full['class_ap'])
    )
    output = capsys.readouterr().out
    assert 'class mAP' in output and 'AP per image' in output and 'different metrics' in output
    assert f'{full["class_map"]:.1f}' in output and f'{full["per_image_ap"]:.1f}' in output


def test_voc07_svm_shows_the_expected_tree(voc, tmp_path, call):
    root, checkpoint, options = voc
    shutil.rmtree(root / 'Annotations')
    with pytest.raises(SystemExit, match=r'lacks Annotations\. Expected:'):
        call('eval_voc07_svm', 'configs/linear/linear_r50_voc07_svm.py', checkpoint,
             '--cache-dir', tmp_path / 'c', options=options)  # fmt: skip
