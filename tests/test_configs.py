"""Every config under configs/ trains with a shrunken network on generated images."""

import ast
import copy
import math
from pathlib import Path

import generated
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image
from scipy.optimize import linear_sum_assignment

from cdc_mm import apis
from cdc_mm.engine.config import READ_KEYS, run_files
from cdc_mm.models.encoders import packaged_weights

FILES = sorted((ROOT / 'configs').rglob('*.py'))
CONFIGS = [str(path.relative_to(ROOT)) for path in FILES if '_base_' not in path.parts]

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SCALARS = (bool, int, float, str)
# Models that give features and no clusters.
PRETEXTS = (
    'AutoEncoder', 'BYOL', 'DCGAN', 'DenoisingAutoEncoder', 'MoCo', 'MoCoV3', 'PCL', 'SWWAE',
    'SimCLR', 'SwAV', 'Triplets', 'VariationalAutoEncoder',
)  # fmt: skip
# Clusterers that work on rows, by the loss terms that they log.
ON_ROWS = dict(
    SCAN=('loss_neighbor', 'loss_entropy', 'best_objective'),
    CommunitySCAN=('loss_neighbor', 'loss_entropy', 'best_objective'),
    TEMI=('loss_temi', 'best_objective'),
    TURTLE=('loss_classifier', 'loss_entropy'),
    DEC=(),
)
# Batches that make one or two of the few training images.
BATCH_SIZES = dict(
    CIFAR10Files=10, CIFAR100Coarse=2, Digits=4, FashionMNISTFiles=4, ImageFolder=4,
    ListedImageNet=2,
    ImageNetSubset=2, Places205Split=2, STL10=2, VOC07=3,
)  # fmt: skip


def names_of(cfg):
    """The names in a config's block with their values."""
    return {
        name: value
        for name, value in cfg.items()
        if name not in READ_KEYS and isinstance(value, SCALARS)
    }


def clusterer_of(cfg):
    """The model inside the one that labels itself."""
    return cfg.model.clusterer if cfg.model.type == 'SelfLabel' else cfg.model


def is_cdc(cfg):
    """Whether the clusterer has CDC's head."""
    return clusterer_of(cfg).get('head', {}).get('type') == 'CDCHead'


def images_of(loader):
    """The data set of images, of which another may have stored rows."""
    dataset = loader.dataset
    return dataset.dataset if dataset.type == 'FeatureDataset' else dataset


def clusters_features(cfg):
    """Whether k-means is asked for clusters, for which there must be images."""
    hooks = {hook.type for hook in cfg.get('custom_hooks', [])}
    return bool(hooks & {'ReclusterHook', 'FeatureClustersHook', 'AgglomerateHook'})


def generate_data(cfg, monkeypatch):
    """Write the data set; returns the options that point the config to it."""
    kind = images_of(cfg.train_dataloader).type
    stored = cfg.train_dataloader.dataset.type == 'FeatureDataset'
    if kind == 'Digits':  # scikit-learn ships it
        # At least one for each cluster where k-means is asked for them.
        count = 12 if clusters_features(cfg) else 8
        options = dict(store_dir='store', num_neighbors=3) if stored else {}
        for field in LOADERS:
            if cfg[field] is not None:
                inner = '.dataset' if cfg[field].dataset.type == 'FeatureDataset' else ''
                options[f'{field}.dataset{inner}.indices'] = count
        return options
    make = dict(
        CIFAR10Files=lambda root: generated.cifar10(root, monkeypatch),
        CIFAR100Coarse=lambda root: generated.cifar100(root, monkeypatch),
        FashionMNISTFiles=generated.fashion_mnist,
        ImageFolder=generated.image_folder,
        ListedImageNet=generated.imagenet,
        ImageNetSubset=generated.imagenet,
        Places205Split=generated.places205,
        STL10=generated.stl10,
        VOC07=generated.voc,
    )[kind]
    make(Path('images'))
    if stored:
        return dict(data_root='images', store_dir='store', image_size=32, num_neighbors=3)
    if kind != 'ImageNetSubset':
        return dict(data_root='images')
    # A list of a few classes in place of the shipped one, which has as many as clusters.
    assert cfg.subset == cfg.num_clusters
    Path('subset.txt').write_text('n01440764 tench\nn01443537\nn01484850\nn01491361\n')
    return dict(data_root='images', subset='subset.txt')


def shrink(cfg):
    """The same architecture with a sixteenth of the channels and a short queue."""
    model = clusterer_of(cfg)
    if model.type == 'DEC':
        model.widths = (4, 4)
    backbone = model.get('backbone')
    if backbone is None or backbone.type == 'EfficientNetLite':
        return  # pixels, or a network of others, which has its weights
    if backbone.type == 'Encoder':
        backbone = backbone.backbone
        narrow = dict(stem_channels=4, base_channels=4)
        if backbone.type == 'SmallConvNet':
            narrow = dict(channels=[4 for _ in backbone.channels])
        for field in ('train_dataloader', 'val_dataloader'):
            if cfg[field].dataset.type == 'FeatureDataset':
                cfg[field].dataset.encoder.backbone.update(narrow)
    if backbone.type in ('SmallConvNet', 'PoolingConvNet'):
        backbone.channels = [4 for _ in backbone.channels]
        width = 4
    else:
        backbone.stem_channels = backbone.base_channels = 4
        width = 32 * (4 if backbone.depth == 50 else 1)
    if model.type == 'ImageClassifier':
        model.head.in_channels = width
        return
    if model.type in ON_ROWS:
        return
    if model.type in PRETEXTS:
        shrink_pretext(model, width)
        return
    if 'neck' in model:
        model.neck.update(in_channels=width, hid_channels=16)
    if 'predictor' in model:
        model.predictor.hid_channels = 16
    if model.get('queue_size') is not None:
        model.queue_size = model.head.num_clusters + 10


def shrink_pretext(model, width):
    """Of a model without clusters what lies behind the backbone."""
    decoder = model.get('decoder') or model.get('generator')
    if decoder:
        decoder.channels = [4 for _ in decoder.channels]
    if model.get('neck'):
        model.neck.in_channels = width
        if 'hid_channels' in model.neck:
            model.neck.hid_channels = 16
    elif 'decoder' in model:
        decoder.in_channels = width
    if 'predictor' in model.get('head', {}):
        model.head.predictor.hid_channels = 16
    if model.type == 'DCGAN':
        model.feat_dim = width
    if model.type in ('MoCo', 'PCL'):
        model.queue_len = 100
    if model.type == 'PCL':
        model.num_prototypes = (2, 3)
    if model.type == 'SwAV':
        model.head.loss.num_prototypes = 2


def write_checkpoint(cfg):
    """What the config starts from: weights of the shape of the pretraining's."""
    init_default_scope('mmpretrain')
    model = MODELS.build(copy.deepcopy(clusterer_of(cfg)))
    if cfg.model.type == 'SelfLabel' and clusterer_of(cfg).type == 'SCAN':
        # Confident of the first cluster, whatever the image, and not yet fully.
        torch.nn.init.normal_(model.head.weight, std=1e-3)
        model.head.bias.data.view(model.num_heads, -1)[:] = torch.eye(model.num_clusters)[0] * 8
    elif cfg.model.type == 'SelfLabel':
        # As confident as the head can be, of the first cluster, whatever the image.
        last = model.neck.mlp[-1]
        torch.nn.init.zeros_(last.weight)
        last.bias.data[: cfg.num_clusters] = -1 / cfg.num_clusters
        last.bias.data[0] += 1
    torch.save(model.state_dict(), 'pretrained.pth')


def prepared_runner(cfg):
    """As tools/train.py makes it."""
    apis.set_dataloader_defaults(cfg)
    # mmengine prints the config through yapf, which takes seconds.
    object.__setattr__(cfg, '_format_python_code', False)
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    return runner


def second_lr(path, cfg):
    """The learning rate of the second of two epochs, by a schedule that was made for two."""
    name = Path(path).name
    if not cfg.param_scheduler:
        return cfg.lr
    if 'pretrain_epochs' in cfg:
        return cfg.lr / 10
    if 'selflabel_' in name:
        return cfg.lr  # SCAN's is constant
    if 'places205' in name or 'voc07' in name:
        return cfg.lr * (1 + math.cos(math.pi / 12)) / 2  # a half-period of 12 epochs
    if name == 'linear_r50_imagenet_moco.py':
        return cfg.lr / 100  # past both milestones
    lowest = 0.01 if name == 'linear_r50_imagenet_adco.py' else 0
    return (cfg.lr + lowest) / 2  # half-way down the cosine


@pytest.mark.parametrize('path', CONFIGS)
def test_trains_two_epochs(path, tmp_path, monkeypatch):
    """Through the named block, with the config's own loops, schedule, head and threshold."""
    shipped = Config.fromfile(ROOT / path)
    monkeypatch.chdir(tmp_path)
    # Of so few images; the check has tests of its own.
    monkeypatch.setattr('cdc_mm.engine.runner.check_num_clusters', lambda *args: None)
    options = dict(
        epochs=2,
        batch_size=BATCH_SIZES[images_of(shipped.train_dataloader).type],
        num_workers=0,
        work_dir='work',
        experiment_name=path.replace('/', '_'),
        **generate_data(shipped, monkeypatch),
    )
    hooks = [hook.type for hook in shipped.get('custom_hooks', [])]
    if 'PretrainedBackboneHook' in hooks or shipped.load_from:
        options['load_from'] = 'pretrained.pth'
    options['default_hooks.collapse_watch.interval'] = 1
    if 'pretrained' in shipped:
        options['pretrained'] = 'pretrained.pth'
    if (clusters_features(shipped) or 'DECHook' in hooks) and 'num_clusters' in shipped:
        options['num_clusters'] = 3  # so small a network has few different features
    cfg = apis.read_config(str(ROOT / path), options)
    shrink(cfg)
    if Path(path).name in (
        'cdc_r50_imagenet.py', 'mocov2_r50_imagenet.py', 'pcl_v2_r50_imagenet.py',
    ):  # fmt: skip
        cfg.model.backbone.norm_cfg.type = 'SplitBN'  # what a single process is told to use
    if cfg.load_from:
        write_checkpoint(cfg)
    if 'pretrained' in cfg:
        init_default_scope('mmpretrain')
        torch.save(MODELS.build(cfg.model.backbone.backbone).state_dict(), 'pretrained.pth')
    runner = prepared_runner(cfg)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    if cfg.load_from:
        before.update(
            (name.replace('clusterer.', ''), value)
            for name, value in torch.load('pretrained.pth', weights_only=True).items()
        )
    if cfg.model.type in ON_ROWS and cfg.model.get('backbone'):
        encoder = MODELS.build(cfg.model.backbone)
        released = encoder.read_weights(cfg.get('pretrained') or str(packaged_weights(0)))
        before.update((f'encoder.backbone.{name}', value) for name, value in released.items())
    runner.train()

    assert runner.epoch == 2
    check_schedule(path, cfg, runner)
    state = torch.load('work/epoch_2.pth', weights_only=True)
    assert state['meta']['epoch_length'] == len(runner.train_dataloader)  # can resume exactly
    images = len(runner.train_dataloader.dataset)
    check_weights(cfg, images, before, runner.model.state_dict(), state['state_dict'])
    check_losses(cfg, runner)
    check_metric(cfg, runner)
    assert Path('work/contact_sheet.png').is_file() == ('num_clusters' in cfg)


def check_schedule(path, cfg, runner):
    rates, _ = runner.message_hub.log_scalars['train/lr'].data
    steps = len(runner.train_dataloader)
    assert len(rates) == 2 * steps
    if 'warmup' in cfg:  # by iteration, in the first epoch
        assert rates[0] == pytest.approx(1e-4 * cfg.lr)
        assert rates[steps] == max(rates) == pytest.approx(cfg.lr)
        # TEMI's stays there.
        assert (rates[-1] < 0.6 * cfg.lr) == (cfg.model.type != 'TEMI')
        return
    expected = [cfg.lr] * steps + [second_lr(path, cfg)] * steps
    assert list(rates) == pytest.approx(expected)


def check_weights(cfg, images, before, after, saved):
    """The parts that learn have moved, the others have not, to the last bit."""
    assert all(torch.equal(value, after[name]) for name, value in saved.items())
    assert all(value.isfinite().all() for value in after.values())
    before, after = (
        {name.replace('clusterer.', ''): value for name, value in weights.items()}
        for weights in (before, after)
    )
    hooks = [hook.type for hook in cfg.get('custom_hooks', [])]
    fine_tunes = 'SelfLabelHook' in hooks and cfg.custom_hooks[0].get('finetune', False)
    moves = {'neck.': True, 'head.fc.': True, 'head.weight': 'SCAN' in clusterer_of(cfg).type}
    moves['backbone.'] = moves['encoder.backbone.'] = (
        cfg.model.type not in ON_ROWS and 'PretrainedBackboneHook' not in hooks
    )
    moves |= dict.fromkeys(('student.', 'teacher.', 'task.', 'coder.', 'centers'), True)
    # Averages that follow mmpretrain's cosine begin as copies.
    moves |= dict.fromkeys(('momentum_encoder.neck.', 'target_net.module.1.'), not fine_tunes)
    moves |= dict.fromkeys(('decoder.', 'generator.', 'classifier.', 'head.predictor.'), True)
    moves['head.loss_module.'] = cfg.model.type == 'SwAV'
    for prefix, expected in moves.items():
        part = [name for name in after if name.startswith(prefix)]
        if part:
            moved = [name for name in part if not torch.equal(before[name], after[name])]
            assert bool(moved) == expected, prefix
    if cfg.model.type == 'MoCo':  # a baseline, without clusters
        assert after['queue'].shape == (cfg.model.feat_dim, 100)
    elif 'queue.rows' in after:
        head = clusterer_of(cfg).head
        width = head.num_clusters + head.instance_dim * (clusterer_of(cfg).type == 'CDC')
        # Left to so few images, or cut to them, it has half of them, or one row a cluster.
        length = clusterer_of(cfg).get('queue_size')
        if clusterer_of(cfg).type == 'CDC' and (length is None or length > images):
            length = max(images // 2, head.num_clusters)
        length = length or head.num_clusters
        assert after['queue.rows'].shape == (length, width)


def check_losses(cfg, runner):
    scalars = runner.message_hub.log_scalars
    steps = len(runner.train_dataloader)
    counts = dict(loss=2 * steps)
    hooks = {hook.type: hook for hook in cfg.get('custom_hooks', [])}
    fine_tunes = 'SelfLabelHook' in hooks and hooks['SelfLabelHook'].get('finetune', False)
    if cfg.model.type == 'DEC':
        kept = cfg.model.get('gamma') is not None
        counts |= dict(loss_reconstruction=(1 + kept) * steps, loss_cluster=steps)
    elif cfg.model.type in ON_ROWS:
        counts |= dict.fromkeys(ON_ROWS[cfg.model.type], 2 * steps)
    elif is_cdc(cfg) and not fine_tunes:
        counts |= dict.fromkeys(
            ('loss_infonce', 'loss_cluster', 'assign_entropy', 'largest_share'), 2 * steps
        )
    if 'SelfLabelHook' in hooks:
        # Of two epochs, the gradual form has the term in the second.
        counts |= dict.fromkeys(('loss_selflabel', 'confident_share'), (1 + fine_tunes) * steps)
    for name, count in counts.items():
        values, _ = scalars[f'train/{name}'].data
        assert len(values) == count and all(math.isfinite(value) for value in values), name
    if fine_tunes:  # the checkpoint is as confident as the head can be
        assert set(scalars['train/confident_share'].data[0]) == {1}


def check_metric(cfg, runner):
    """The logged accuracy is that of the model as it is, which we work out again."""
    if cfg.val_dataloader is None:
        return
    scalars = runner.message_hub.log_scalars
    model = runner.model.eval()
    with torch.no_grad():
        samples = [sample for batch in runner.val_dataloader for sample in model.val_step(batch)]
    assert len(samples) == len(runner.val_dataloader.dataset)
    if cfg.val_evaluator.type == 'VOC07Metric':
        assert 0 < scalars['val/voc07/class_map'].current() <= 100
        return
    labels = torch.tensor([int(sample.gt_label) for sample in samples])
    predicted = torch.tensor([int(sample.pred_label) for sample in samples])
    if cfg.val_evaluator.type == 'Accuracy':
        top1 = 100 * (labels == predicted).double().mean()
        assert scalars['val/accuracy/top1'].current() == pytest.approx(float(top1))
        return
    num_clusters = cfg.get('num_clusters', cfg.get('num_classes'))
    assert getattr(runner.model, 'num_clusters', num_clusters) == num_clusters
    table = torch.zeros(num_clusters, int(labels.max()) + 1)
    for cluster, label in zip(predicted, labels, strict=True):
        table[cluster, label] += 1
    acc = 100 * table[linear_sum_assignment(table, maximize=True)].sum() / len(labels)
    assert scalars['val/clustering/acc'].current() == pytest.approx(float(acc), abs=1e-3)
    sizes = torch.bincount(predicted, minlength=num_clusters)
    assert scalars['val/clustering/empty_clusters'].current() == int((sizes == 0).sum())


def test_a_threshold_out_of_reach_is_seen():
    """What the test above relies on."""
    cfg = apis.read_config(
        str(ROOT / 'configs/selflabel/selflabel_digits.py'), dict(threshold=0.99)
    )
    shrink(cfg)
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match=r'no image can pass threshold=0\.99'):
        MODELS.build(cfg.model)


@pytest.mark.parametrize('path', CONFIGS)
def test_every_name_reaches_something(path):
    """Of the config and its bases, something that the runner takes."""
    path = str(ROOT / path)
    shipped = run_files(path, {})[0][0]
    names = names_of(shipped)
    assert {'epochs', 'batch_size', 'lr', 'num_workers'} <= set(names)
    given = ('num_clusters' in names) + ('num_classes' in names)
    assert given == (shipped['model']['type'] not in PRETEXTS)
    if 'num_clusters' in names:
        own = dict(SCAN={'num_heads'}, TEMI={'num_heads'}, TURTLE={'inner_lr'})
        own = own.get(clusterer_of(Config(shipped)).type, set())
        assert ({'t', 'tau', 'alpha'} if is_cdc(Config(shipped)) else own) <= set(names)
    for name, value in names.items():
        other = not value if isinstance(value, bool) else value + type(value)(1)
        cfg = run_files(path, {name: other})[0][0]
        assert cfg[name] == other
        assert any(cfg[key] != shipped[key] for key in READ_KEYS & shipped.keys()), name


@pytest.mark.parametrize('path', CONFIGS)
def test_the_names_reach_all_that_is_derived_from_them(path):
    """What is typed first on a new data set: data_root=X num_clusters=3 epochs=20."""
    path = str(ROOT / path)
    old = apis.read_config(path)
    names = names_of(old)
    new = dict(epochs=20, batch_size=7, lr=0.123, num_workers=0, num_clusters=3, num_classes=4)
    new |= dict(data_root='X', t=0.3, tau=0.4, alpha=0.6)
    cfg = apis.read_config(path, {key: value for key, value in new.items() if key in names})
    # A base does not see what a file on top of it assigns.
    assert old.train_cfg.max_epochs == old.epochs and old.train_dataloader.batch_size == (
        old.batch_size
    )
    assert cfg.train_cfg.max_epochs == 20
    for before, after in zip(old.param_scheduler, cfg.param_scheduler, strict=True):
        for key in ('T_max', 'end'):
            if before.get(key, 0) > old.epochs // 2:
                assert after[key] == before[key] * 20 // old.epochs
        for milestone in after.get('milestones', []):
            assert 0 < milestone < 20
        assert after.get('begin', 0) < 20
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.optim_wrapper.optimizer.lr == 0.123
    for field in LOADERS:
        if cfg[field] is not None:
            assert (
                cfg[field].num_workers == cfg[field].dataset.get('num_workers', 0) == 0
                and cfg[field].persistent_workers is False
            )
            if images_of(cfg[field]).type != 'Digits':
                assert images_of(cfg[field]).data_root == 'X'
    head = clusterer_of(cfg).get('head')
    if 'num_clusters' in names and not is_cdc(cfg):
        assert clusterer_of(cfg).num_clusters == 3
    elif 'num_clusters' in names:
        assert head.num_clusters == 3 and (head.t, head.tau, head.alpha) == (0.3, 0.4, 0.6)
    if 'num_classes' in names:
        assert head.num_classes == 4


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_edits_nothing_by_position(path):
    """A file says what is so by name, which a change of its base does not shift."""
    # mmengine's placeholders are sets of sets to Python.
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assert all(isinstance(target, ast.Name) for target in targets), ast.unparse(node)
        assert not isinstance(node, (ast.Delete, ast.Subscript)), ast.unparse(node)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name), ast.unparse(node)  # no x.update(), x.pop()


@pytest.mark.parametrize('path', CONFIGS)
def test_is_complete(path):
    """What tools fill in depends on the machine alone."""
    cfg = Config.fromfile(ROOT / path)
    filled = copy.deepcopy(cfg)
    apis.set_dataloader_defaults(filled)
    for field in LOADERS:
        if cfg[field] is not None:
            added = filled[field].keys() - cfg[field].keys()
            assert added <= {'pin_memory', 'timeout'}
            assert {key: filled[field][key] for key in cfg[field]} == cfg[field]


def test_mmengine_alone_trains_a_shipped_config(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/cdc_digits.py')
    shrink(cfg)
    cfg.work_dir = str(tmp_path)  # all that it wants besides
    cfg.experiment_name = 'mmengine_alone'
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1437 // 128
    acc = runner.message_hub.get_scalar('val/clustering/acc').current()
    assert acc > 10  # chance, of ten classes of much the same size


@pytest.mark.parametrize('name', ['digits', 'r18_cifar10'])
def test_the_baseline_is_trained_as_cdc(name):
    """Table 7 compares the two: network, data and schedule are the same, but for clipping."""
    cdc = Config.fromfile(ROOT / f'configs/cdc_{name}.py')
    moco = Config.fromfile(ROOT / f'configs/baselines/mocov2/mocov2_{name}.py')
    cdc.optim_wrapper.pop('clip_grad', None)
    cdc.train_cfg.pop('val_interval')
    assert moco.model.backbone == cdc.model.backbone
    assert moco.model.queue_len == cdc.model.queue_size
    assert moco.model.momentum == pytest.approx(1 - cdc.model.momentum)
    assert moco.data_preprocessor == dict(cdc.data_preprocessor, named=False)
    for key in ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert moco[key] == cdc[key]


def test_self_labelling_is_scans():
    """Its code clips no gradients; section 2.4 gives the threshold."""
    for name in ('cifar10', 'cifar100_20', 'stl10'):
        cfg = Config.fromfile(ROOT / f'configs/selflabel/selflabel_r18_{name}.py')
        assert cfg.optim_wrapper == dict(
            optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4), clip_grad=None
        )
        assert cfg.model.loss.threshold == 0.99 and cfg.param_scheduler == []
        assert cfg.train_dataloader.batch_size == 1000
        assert list(cfg.data_preprocessor.views.items())[:2] == [('view1', None), ('view2', None)]


def test_linear_classifiers_are_watched():
    cdc = Config.fromfile(ROOT / 'configs/cdc_r18_cifar10.py')
    linear = Config.fromfile(ROOT / 'configs/linear/linear_r18_cifar10.py')
    # What finding clusters needs besides.
    assert cdc.default_hooks.keys() - linear.default_hooks.keys() == {'contact_sheet', 'prepare'}
    assert all(cdc.default_hooks[name] == hook for name, hook in linear.default_hooks.items())
    assert {'collapse_watch', 'exact_resume', 'faulty_images'} <= linear.default_hooks.keys()


@pytest.mark.parametrize('path', CONFIGS)
def test_images_are_read_by_load_image(path):
    """It skips or names a file that cannot be read, which the host's loader does not."""
    cfg = Config.fromfile(ROOT / path)
    for field in LOADERS:
        if cfg[field] is not None:
            steps = [step.type for step in images_of(cfg[field]).pipeline]
            of_files = images_of(cfg[field]).type not in (
                'CIFAR10Files',
                'CIFAR100Coarse',
                'Digits',
                'FashionMNISTFiles',
                'STL10',
            )
            assert (steps[0] == 'LoadImage') == of_files and 'LoadImageFromFile' not in steps


def test_image_cache_reaches_every_step_that_reads_images():
    """Of the configs that have the name; in the others it is refused."""
    found = []
    for path in CONFIGS:
        if 'image_cache' not in Config.fromfile(ROOT / path):
            continue
        cfg = apis.read_config(str(ROOT / path), dict(image_cache='cache'))
        pipelines = [images_of(cfg[field]).pipeline for field in LOADERS if cfg[field] is not None]
        steps = [step for steps in pipelines for step in steps if step.type == 'LoadImage']
        assert steps and all(step.cache == 'cache' for step in steps), path
        found.append(Path(path).stem)
    assert {'cdc_r50_imagenet', 'cdc_r18_folder', 'linear_r50_places205'} < set(found)


def test_small_images_in_a_flat_folder(tmp_path, monkeypatch):
    """Of any size; as typed: data_root=images num_clusters=3 train_prefix= test_prefix=."""
    monkeypatch.chdir(tmp_path)
    Path('images').mkdir()
    for i in range(9):
        image = Image.effect_noise((20 + 3 * i, 40 - i), 50).convert('RGB')
        image.save(f'images/{i}.png')
    options = dict(data_root='images', num_clusters=3, train_prefix='', test_prefix='')
    options |= dict(epochs=1, batch_size=4, num_workers=0, queue_size=None, work_dir='work')
    options['experiment_name'] = 'flat'
    cfg = apis.read_config(str(ROOT / 'configs/cdc_r18_cifar10_folder.py'), options)
    shrink(cfg)
    runner = prepared_runner(cfg)
    runner.train()
    assert runner.message_hub.get_scalar('val/clustering/num_samples').current() == 9
    assert len(runner.model.queue) == 4


def test_configs_state_the_papers_values():
    """Section 3.1 of the paper; protocols where it is silent."""
    cifar = Config.fromfile(ROOT / 'configs/cdc_r18_cifar10.py')
    head, optimizer = cifar.model.head, cifar.optim_wrapper.optimizer
    assert (head.num_clusters, head.instance_dim, head.alpha) == (10, 128, 5.0)
    assert (head.tau, head.t) == (0.15, 0.10)
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (6e-2, 0.9, 5e-4)
    assert (cifar.train_cfg.max_epochs, cifar.train_dataloader.batch_size) == (1200, 512)
    assert (cifar.model.queue_size, cifar.model.momentum, cifar.model.symmetric) == (
        4096,
        0.99,
        True,
    )
    imagenet = Config.fromfile(ROOT / 'configs/cdc_r50_imagenet.py')
    head, optimizer = imagenet.model.head, imagenet.optim_wrapper.optimizer
    assert (head.num_clusters, head.instance_dim, head.alpha) == (1000, 256, 1.0)
    assert (head.tau, head.t) == (0.40, 0.20)
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.03, 0.9, 1e-4)
    assert (imagenet.train_cfg.max_epochs, imagenet.train_dataloader.batch_size) == (200, 32)
    assert (imagenet.model.queue_size, imagenet.model.momentum) == (65536, 0.999)
    for name, dataset, split in (
        ('cifar100_20', 'CIFAR100Coarse', 'train'),
        ('stl10', 'STL10', 'train+unlabeled'),
    ):
        cfg = Config.fromfile(ROOT / f'configs/cdc_r18_{name}.py')
        assert cfg.model.head == dict(cifar.model.head, num_clusters=cfg.num_clusters)
        assert cfg.optim_wrapper == cifar.optim_wrapper and cfg.train_cfg == cifar.train_cfg
        assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.batch_size) == (
            dataset,
            512,
        )
        assert cfg.train_dataloader.dataset.split == split
        assert cfg.test_dataloader.dataset.split == 'test'
    for classes in (50, 100, 200):
        subset = Config.fromfile(ROOT / f'configs/cdc_r50_imagenet{classes}.py')
        assert subset.model.head == dict(imagenet.model.head, num_clusters=classes)
        assert subset.optim_wrapper == imagenet.optim_wrapper
        assert (subset.train_cfg.max_epochs, subset.train_dataloader.batch_size) == (400, 256)
        assert subset.model.backbone.frozen_stages == 4


def test_linear_configs_state_the_protocols_values():
    """MoCo, MoCo v3 and AdCo; the ablation's probe."""
    cfgs = {
        name: Config.fromfile(ROOT / f'configs/linear/linear_{name}.py')
        for name in (
            'r50_imagenet_moco', 'r50_imagenet_mocov3', 'r50_imagenet_adco', 'r50_places205',
            'r50_voc07', 'r18_cifar10', 'r18_cifar10_folder', 'digits',
        )
    }  # fmt: skip
    for name, lr, epochs, batch_size in (
        ('r50_imagenet_moco', 30, 100, 32),
        ('r50_imagenet_mocov3', 0.4, 90, 128),
        ('r50_imagenet_adco', 10, 100, 32),
        ('r50_places205', 5, 100, 32),
        ('r50_voc07', 0.05, 100, 16),
        ('r18_cifar10', 30, 100, 512),
        ('r18_cifar10_folder', 30, 100, 512),
        ('digits', 30, 100, 128),
    ):
        cfg = cfgs[name]
        assert cfg.optim_wrapper.optimizer == dict(
            type='SGD', lr=lr, momentum=0.9, weight_decay=0.0
        )
        assert cfg.train_cfg.max_epochs == epochs
        assert cfg.train_dataloader.batch_size == batch_size
        assert cfg.model.backbone.frozen_stages == 4
    schedules = {name: cfg.param_scheduler for name, cfg in cfgs.items()}
    assert schedules['r50_imagenet_moco'][0].milestones == [60, 80]
    assert schedules['r50_imagenet_adco'][0].eta_min == 0.01
    for name in ('r50_places205', 'r50_voc07'):
        assert schedules[name][0].type == 'CosineAnnealingLR' and schedules[name][0].T_max == 12


def test_fashion_mnist_tests_on_the_held_out_file(tmp_path):
    """The host's data set goes by test_mode, and does not look at split."""
    root = generated.fashion_mnist(tmp_path / 'images')
    options = dict(data_root=str(root), num_images=10)
    cfg = apis.read_config(str(ROOT / 'configs/cdc_fashion_mnist.py'), options)
    init_default_scope('mmpretrain')
    for field, name, count in (
        ('train_dataloader', 'train', 10),
        ('val_dataloader', 't10k', 8),
        ('test_dataloader', 't10k', 8),
    ):
        dataset = DATASETS.build(cfg[field].dataset)
        pixels = (root / f'{name}-images-idx3-ubyte').read_bytes()[16:]
        assert len(dataset) == count
        assert dataset.get_data_info(7)['img'].tobytes() == pixels[7 * 784 : 8 * 784]


@pytest.mark.parametrize('method', ['byol', 'gan'])
def test_a_pretext_resumes_exactly(method, tmp_path):
    """With averages that follow a cosine of their own, and with noise."""

    def train(folder, **options):
        cfg = apis.read_config(
            str(ROOT / f'configs/baselines/{method}/{method}_digits.py'),
            {
                'epochs': 3,
                'batch_size': 32,
                'train_dataloader.dataset.indices': 64,
                'default_hooks.checkpoint.interval': 1,
                'work_dir': str(tmp_path / folder),
                'experiment_name': f'{method}_{folder}',
                **options,
            },
        )
        shrink(cfg)
        prepared_runner(cfg).train()
        return torch.load(tmp_path / folder / 'epoch_3.pth', weights_only=True)

    whole = train('whole')
    resumed = train('resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_2.pth'))
    assert not (tmp_path / 'resumed/epoch_2.pth').exists() and resumed['meta']['iter'] == 6
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
