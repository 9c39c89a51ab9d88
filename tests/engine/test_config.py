import pytest
from helpers import ROOT
from mmengine.config import Config

from cdc_mm.apis import read_config

BASE = """\
data_root = 'data'
width = 4
view = dict(size=width)
loader = dict(dataset=dict(root=data_root, view=view), width=width)
train_dataloader = loader
val_dataloader = loader
"""
LEAF = """\
# A comment.
_base_ = ['base.py', 'runtime.py']
num_clusters = 10
epochs = 8
lr: float = 0.1
unused = 1
depth, height = 2, 3
if True:
    warm = 1
warm += 1
def half(n):
    epochs = n // 2
    return epochs
model = dict(head=dict(num_clusters=num_clusters), depth=depth, wide={{_base_.width}} * 1)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(T_max=epochs - warm, end=epochs, begin=half(epochs))]
train_cfg = dict(max_epochs=epochs)
work_dir = '{{fileDirname}}/{{ fileBasenameNoExtension }}'
user = '{{$CDC_MM_USER:nobody}}'
test_dataloader = {{_base_.val_dataloader}}
val_dataloader = dict(first=_base_.train_dataloader.dataset, batch=num_clusters * _base_.width)
"""


@pytest.fixture
def leaf(tmp_path):
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'sub' / 'deep.json').write_text('{"level": 3, "env_cfg": {"a": 1}}')
    (tmp_path / 'runtime.py').write_text(
        "_base_ = 'sub/deep.json'\nenv_cfg = dict(b=_base_.level)\nload_from = None\n"
    )
    (tmp_path / 'leaf.py').write_text(LEAF.replace('{{_base_.width}} * 1', '_base_.width'))
    return str(tmp_path / 'leaf.py')


def plain(cfg):
    return cfg._cfg_dict.to_dict()


def test_without_options_it_is_mmengines(leaf):
    assert plain(read_config(leaf)) == plain(Config.fromfile(leaf))
    paths = sorted((ROOT / 'configs').rglob('*.py'))
    for path in paths:
        if '_base_' not in path.parts:
            assert plain(read_config(str(path))) == plain(Config.fromfile(str(path)))
            assert plain(read_config(str(path), {})) == plain(Config.fromfile(str(path)))


def test_a_name_reaches_what_is_derived_from_it(leaf):
    cfg = read_config(leaf, dict(num_clusters=3, epochs=5, lr=0.5))
    assert (cfg.num_clusters, cfg.epochs, cfg.lr) == (3, 5, 0.5)
    assert cfg.model.head.num_clusters == 3 and cfg.val_dataloader.batch == 12
    assert cfg.param_scheduler == [dict(T_max=3, end=5, begin=2)]
    assert cfg.train_cfg.max_epochs == 5 and cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.filename == leaf and Config.fromfile(leaf).text == cfg.text


def test_a_folder_may_be_called_by_a_number(leaf):
    assert read_config(leaf, dict(data_root=2024)).train_dataloader.dataset.root == '2024'


def test_a_name_of_a_base_reaches_base_and_leaf(leaf):
    cfg = read_config(leaf, dict(data_root='X', width=5, level=7))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert loader.dataset.root == 'X' and loader.dataset.view.size == 5 == loader.width
    assert cfg.val_dataloader.first.root == 'X' and cfg.val_dataloader.batch == 50
    assert cfg.model.wide == 5
    assert cfg.env_cfg == dict(a=1, b=7)


def test_a_name_that_leaf_and_base_set(tmp_path):
    (tmp_path / 'a.py').write_text('lr = 1\noptim_wrapper = dict(lr=lr, twice=2 * lr)')
    (tmp_path / 'b.py').write_text("_base_ = 'a.py'\nlr = 3\noptim_wrapper = dict(lr=lr)")
    assert read_config(str(tmp_path / 'b.py')).optim_wrapper == dict(lr=3, twice=2)
    cfg = read_config(str(tmp_path / 'b.py'), dict(lr=5))
    assert cfg.optim_wrapper == dict(lr=5, twice=10)


def test_all_ways_to_set_a_name(leaf):
    cfg = read_config(leaf, dict(depth=6, warm=4))
    assert cfg.model.depth == 6 and cfg.height == 3
    assert cfg.param_scheduler[0].T_max == 4


def test_names_set_in_a_chain_are_apart(tmp_path):
    (tmp_path / 'a.py').write_text('k = subset = 50\nmodel = dict(k=k, subset=subset)')
    assert read_config(str(tmp_path / 'a.py'), dict(k=3)).model == dict(k=3, subset=50)


def test_predefined_and_environment_variables_stay(leaf, tmp_path, monkeypatch):
    monkeypatch.setenv('CDC_MM_USER', 'me')
    cfg = read_config(leaf, dict(epochs=5))
    assert cfg.work_dir == f'{tmp_path}/leaf' and cfg.user == 'me'
    assert cfg.env_variables == dict(CDC_MM_USER='me')


def test_bases_by_absolute_path_and_in_yaml(tmp_path):
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'base.yaml').write_text('epochs: 4\ntrain_cfg: {by_epoch: true}\n')
    text = f"_base_ = '{tmp_path}/far/base.yaml'\ntrain_cfg = dict(max_epochs=_base_.epochs)"
    (tmp_path / 'a.py').write_text(text)
    cfg = read_config(str(tmp_path / 'a.py'), dict(epochs=9))
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=9) and cfg.epochs == 9


def test_the_dump_holds_the_values(leaf, tmp_path):
    read_config(leaf, dict(epochs=5, data_root='X')).dump(str(tmp_path / 'dumped.py'))
    dumped = Config.fromfile(str(tmp_path / 'dumped.py'))
    assert dumped.train_cfg.max_epochs == 5 and dumped.train_dataloader.dataset.root == 'X'


def test_dotted_keys_are_merged_after_the_names(leaf):
    options = {'train_cfg.max_epochs': 2, 'epochs': 5, 'param_scheduler.0.end': 4}
    cfg = read_config(leaf, options)
    assert cfg.train_cfg.max_epochs == 2 and cfg.epochs == 5
    assert cfg.param_scheduler[0] == dict(T_max=3, end=4, begin=2)
    assert len(options) == 3  # the caller's


def test_lists_and_dicts(leaf):
    cfg = read_config(leaf, dict(param_scheduler=[], view=dict(size=9), model=dict(depth=8)))
    assert cfg.param_scheduler == [] and cfg.train_dataloader.dataset.view.size == 9
    assert cfg.model.depth == 8 and cfg.model.head.num_clusters == 10  # merged, as ever


def test_what_the_runner_takes_need_not_be_in_the_config(leaf):
    options = dict(experiment_name='x', resume=True, launcher='none', load_from='y')
    cfg = read_config(leaf, {**options, 'randomness.seed': 3, 'tta_model.type': 'T'})
    assert {key: cfg[key] for key in options} == options
    assert cfg.randomness.seed == 3 and cfg.tta_model.type == 'T'
    cfg = read_config(leaf, dict(val_dataloader=None))
    assert cfg.val_dataloader is None and cfg.test_dataloader is not None


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('num_cluster', r'no num_cluster to set\. Near it: num_clusters\. .*: .*num_clusters'),
        ('seed', 'no seed to set.* names of this config: data_root, width, .*epochs'),
        ('modle.head.k', r'no modle \(of modle\.head\.k\) to set\. Near it: .*model'),
        ('optim_wraper.lr', 'Near it: optim_wrapper'),
        ('unused', 'unused reaches nothing'),
        ('height', 'height reaches nothing'),
        ('view.size', 'view.size reaches nothing'),
        ('half', 'no half to set'),
    ],
)
def test_refuses_what_reaches_nothing(leaf, key, message):
    with pytest.raises(ValueError, match=f'config {leaf}: .*{message}'):
        read_config(leaf, {'epochs': 5, key: 4})


def test_a_name_may_be_set_to_what_it_is(leaf):
    assert read_config(leaf, dict(epochs=8, num_clusters=10)).train_cfg.max_epochs == 8


def test_a_dumped_config_says_that_its_names_reach_nothing(leaf, tmp_path):
    read_config(leaf).dump(str(tmp_path / 'dumped.py'))
    with pytest.raises(ValueError, match=r'epochs reaches nothing.*dotted key'):
        read_config(str(tmp_path / 'dumped.py'), dict(epochs=5))


def test_values_that_break_the_config_are_told(leaf):
    with pytest.raises(ValueError, match=r'config .*leaf\.py: TypeError'):
        read_config(leaf, dict(epochs='many'))
    with pytest.raises(ValueError, match=r'epochs=.* literal'):
        read_config(leaf, dict(epochs=object()))


def test_names_of_a_config_with_read_base_are_refused(tmp_path):
    (tmp_path / 'a.py').write_text('from torch import nn\nk = 3\nmodel = dict(k=k)')
    path = str(tmp_path / 'a.py')
    assert read_config(path, {'model.k': 4}).model.k == 4
    with pytest.raises(ValueError, match='k: names of a config that uses read_base'):
        read_config(path, dict(k=4))


def test_missing_files_are_told(leaf, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no config file .*leef\.py; near it: .*leaf\.py'):
        read_config(str(tmp_path / 'leef.py'))
    with pytest.raises(FileNotFoundError, match=r'no config file none/x\.py$'):
        read_config('none/x.py')
    (tmp_path / 'base.py').unlink()
    with pytest.raises(ValueError, match=r'leaf\.py: FileNotFoundError: .*base\.py'):
        read_config(leaf)
