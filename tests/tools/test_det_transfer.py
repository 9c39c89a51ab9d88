"""Detection transfer as a user types it, mostly in this process to save time."""

import importlib.util
import json
import os
import pickle
import re
import sys

import generated
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin import register_all_coco, register_all_pascal_voc
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.data.datasets.pascal_voc import CLASS_NAMES
from helpers import ROOT, hold, run_tool
from mmpretrain.registry import MODELS

CONFIGS = sorted(path.stem for path in (ROOT / 'configs/detection').glob('[!B]*.yaml'))
TINY = [
    'MODEL.RESNETS.STEM_OUT_CHANNELS', 8, 'MODEL.RESNETS.RES2_OUT_CHANNELS', 32,
    'MODEL.RESNETS.WIDTH_PER_GROUP', 8, 'MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE', 16,
    'MODEL.FPN.OUT_CHANNELS', 16, 'MODEL.ROI_BOX_HEAD.FC_DIM', 32,
    'MODEL.ROI_MASK_HEAD.CONV_DIM', 8,
    'MODEL.RPN.POST_NMS_TOPK_TRAIN', 64, 'MODEL.RPN.POST_NMS_TOPK_TEST', 16,
    'MODEL.ROI_HEADS.SCORE_THRESH_TEST', 0.0,
    'INPUT.MIN_SIZE_TRAIN', (64,), 'INPUT.MIN_SIZE_TEST', 64, 'DATALOADER.NUM_WORKERS', 0,
    'SOLVER.IMS_PER_BATCH', 2, 'SOLVER.REFERENCE_WORLD_SIZE', 0, 'SOLVER.STEPS', (),
    'SOLVER.MAX_ITER', 2, 'TEST.PRECISE_BN.NUM_ITER', 2,
]  # fmt: skip
OWN = 'configs/detection/custom_R_50_C4_quarter.yaml'


def flat_stem():
    """A ResNet-18 whose first convolution lacks a dimension."""
    state = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    return {f'backbone.{k}': v[0] if k == 'conv1.weight' else v for k, v in state.items()}


def load(tool):
    spec = importlib.util.spec_from_file_location(tool, ROOT / 'tools' / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(monkeypatch):
    """Run a tool's main() in this process."""

    def run(tool, *args):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        monkeypatch.chdir(ROOT)
        load(tool).main()

    return run


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A checkpoint of a ResNet-50 with an eighth of the channels."""
    path = tmp_path_factory.mktemp('pretrained') / 'epoch_200.pth'
    # The same in every run of the suite. VOC's files hold scores of three digits, and where two are
    # equal the order of the images, which depends on the processes, moves the AP.
    torch.manual_seed(0)
    resnet = MODELS.build(dict(type='ResNet', depth=50, stem_channels=8, base_channels=8))
    state = {f'backbone.{k}': v for k, v in resnet.state_dict().items()}
    torch.save(dict(state_dict={**state, 'queue': torch.ones(2, 2)}), path)
    return path


def register(root):
    """Move detectron2's own data sets to another folder."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in list(catalog):
            if name.startswith(('coco_', 'keypoints_coco_', 'voc_')):
                catalog.remove(name)
    register_all_coco(str(root))
    register_all_pascal_voc(str(root))


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    """VOC07+12 and COCO 2017 in their folders, with a few images each."""
    root = tmp_path_factory.mktemp('datasets')
    generated.voc_detection(root / 'VOC2007', CLASS_NAMES, trainval=2, test=2)
    generated.voc_detection(root / 'VOC2012', CLASS_NAMES, trainval=2)
    generated.coco_detection(root / 'coco', [c for c in COCO_CATEGORIES if c['isthing']])
    register(root)
    yield root
    register('datasets')


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """A data set of the user's in the layout of VOC."""
    root = tmp_path_factory.mktemp('data') / 'own'
    return generated.voc_detection(root, ['cell', 'dish'], trainval=4, test=3)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_trains_and_evaluates(name, datasets, own, pretrained, tmp_path, call, capfd):
    options = [*TINY, 'SEED', 7]
    args = ['--pretrained', pretrained]
    if name.endswith('_supervised'):
        # What it downloads cannot be had here; another file takes its place and its channels.
        weights = tmp_path / 'converted.pkl'
        call('convert_to_detectron2', pretrained, weights)
        options += ['MODEL.WEIGHTS', weights]
        args = []
    elif name.endswith('_random'):
        args = []
    if name.startswith('custom'):
        args += ['--voc-root', own]
    call(
        'det_transfer', f'configs/detection/{name}.yaml', *args, '--output-dir', tmp_path, *options
    )

    result = json.loads((tmp_path / 'results.json').read_text())
    assert (result['seed'], result['iterations']) == (7, 2)
    tasks = {'bbox', 'segm'} if name.startswith('coco') else {'bbox'}
    assert set(result['metrics']) == tasks
    lines = [json.loads(line) for line in (tmp_path / 'metrics.json').read_text().splitlines()]
    assert lines[0]['iteration'] == 1 and lines[0]['total_loss'] > 0
    assert lines[-1]['bbox/AP50'] == result['metrics']['bbox']['AP50']
    assert list(tmp_path.glob('events.out.tfevents*'))

    log = (tmp_path / 'log.txt').read_text()
    assert ("53 of the backbone's 53 convolutions" in log) == (not name.endswith('_random'))
    table = (tmp_path / 'results.md').read_text()
    assert table in capfd.readouterr().out
    number = {'voc': 'Table 5', 'coc': 'Table 4'}.get(name[:3], '')
    assert table.count(f'CDC ({number} of the paper)') == ('FPN' not in name and bool(number))


@pytest.fixture(scope='module')
def trained(own, pretrained, tmp_path_factory):
    """Four iterations in two processes: the output folder and what the tool printed."""
    out = tmp_path_factory.mktemp('trained')
    done = run_tool(
        'tools/det_transfer.py', OWN, '--voc-root', own, '--pretrained', pretrained,
        '--output-dir', out, '--num-gpus', 2, *TINY, 'SOLVER.MAX_ITER', 4,
        'SOLVER.CHECKPOINT_PERIOD', 2, 'TEST.EVAL_PERIOD', 2,
    )  # fmt: skip
    return out, done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason='on GPUs, processes are GPUs')
def test_two_processes_train_one_detector(trained):
    out, output = trained
    assert 'World size: 2' in output and "53 of the backbone's 53" in output
    state = torch.load(out / 'model_final.pth', weights_only=True)['model']
    assert all(value.isfinite().all() for value in state.values())
    lines = [json.loads(line) for line in (out / 'metrics.json').read_text().splitlines()]
    # The last evaluation follows the last iteration.
    assert [line['iteration'] for line in lines if 'bbox/AP' in line] == [1, 4]


def test_evaluation_repeats_and_does_not_train(trained, own, tmp_path, call, monkeypatch):
    """One process finds what two found."""
    from detectron2.evaluation import PascalVOCDetectionEvaluator

    out, _ = trained
    before = json.loads((out / 'results.json').read_text())
    final = (out / 'model_final.pth').read_bytes()
    predictions = []
    evaluate = PascalVOCDetectionEvaluator.evaluate
    monkeypatch.setattr(
        PascalVOCDetectionEvaluator, 'evaluate',
        lambda self: (predictions.append(self._predictions), evaluate(self))[1],
    )  # fmt: skip
    call('det_transfer', OWN, '--voc-root', own, '--eval-only', '--output-dir', out, *TINY)
    after = json.loads((out / 'results.json').read_text())
    assert sum(map(len, predictions[0].values())) > 10  # there was something to compare
    assert after == before
    assert (out / 'model_final.pth').read_bytes() == final
    call('det_transfer', OWN, '--voc-root', own, '--eval-only', '--output-dir', tmp_path, *TINY,
         'MODEL.WEIGHTS', out / 'model_0000001.pth')  # fmt: skip
    assert json.loads((tmp_path / 'results.json').read_text())['iterations'] == 2


def test_resume_continues(own, pretrained, tmp_path, call, capfd):
    for iterations in (2, 3):
        call('det_transfer', OWN, '--voc-root', own, '--pretrained', pretrained, '--resume',
             '--output-dir', tmp_path, *TINY, 'SOLVER.MAX_ITER', iterations)  # fmt: skip
    assert 'Continuing at iteration 2 of 3' in capfd.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / 'metrics.json').read_text().splitlines()]
    assert [line['iteration'] for line in lines if 'total_loss' in line] == [1, 2]
    state = torch.load(tmp_path / 'model_final.pth', weights_only=True)
    assert state['iteration'] == 2 and state['trainer']['_trainer']['optimizer']['state']
    assert json.loads((tmp_path / 'results.json').read_text())['iterations'] == 3


def test_several_seeds_are_several_runs(own, pretrained, tmp_path, call):
    call('det_transfer', OWN, '--voc-root', own, '--pretrained', pretrained, '--seeds', 2,
         '--output-dir', tmp_path, *TINY, 'SOLVER.MAX_ITER', 1, 'SEED', 5)  # fmt: skip
    states = [
        torch.load(tmp_path / f'seed_{seed}/model_final.pth', weights_only=True)['model']
        for seed in (5, 6)
    ]
    name = 'roi_heads.box_predictor.cls_score.weight'
    assert not torch.equal(states[0][name], states[1][name])
    text = (tmp_path / 'results.md').read_text()
    assert '2 (seed 5, 6)' in text and len(re.findall(r'\d \+- \d', text)) == 3
    # A seed gives what it gave.
    call('det_transfer', OWN, '--voc-root', own, '--pretrained', pretrained,
         '--output-dir', tmp_path / 'again', *TINY, 'SOLVER.MAX_ITER', 1, 'SEED', 6)  # fmt: skip
    again = torch.load(tmp_path / 'again/model_final.pth', weights_only=True)['model']
    assert all(torch.equal(again[k], states[1][k]) for k in again)


def test_coco_files_of_the_users(tmp_path, pretrained, call):
    root = generated.coco_detection(tmp_path / 'own', [dict(id=4, name='cell')])
    files = [root / f'annotations/instances_{split}2017.json' for split in ('train', 'val')]
    call('det_transfer', 'configs/detection/coco_R_50_C4_2x_cdc.yaml', '--coco-json', *files,
         '--image-root', root / 'train2017', root / 'val2017', '--pretrained', pretrained,
         '--output-dir', tmp_path, *TINY)  # fmt: skip
    text = (tmp_path / 'results.md').read_text()
    assert 'annotations:instances_val2017' in text and 'segm AP75' in text
    assert 'of the paper' not in text


class MakesFolder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestRefusals:
    def refuse(self, call, message, *args):
        with pytest.raises(SystemExit, match=message) as stopped:
            call('det_transfer', OWN, *args)
        assert stopped.value.code == 2 or len(str(stopped.value).splitlines()) == 2

    @pytest.fixture
    def own_args(self, own, tmp_path):
        return '--voc-root', own, '--output-dir', tmp_path / 'out', *TINY

    @pytest.fixture
    def save(self, tmp_path):
        def write(state):
            torch.save(state, tmp_path / 'x.pth')
            return tmp_path / 'x.pth'

        return write

    def test_no_checkpoint(self, call, own_args, tmp_path):
        self.refuse(call, 'add --pretrained FILE', *own_args)
        self.refuse(call, 'there is no checkpoint', '--pretrained', tmp_path / 'no', *own_args)

    def test_a_wrong_prefix(self, call, own_args, save):
        path = save({'student.backbone.conv1.weight': torch.ones(8, 3, 7, 7)})
        self.refuse(call, 'holds no backbone', '--pretrained', path, *own_args)

    def test_half_a_backbone(self, call, own_args, save, pretrained):
        state = torch.load(pretrained)['state_dict']
        state = {k: v for k, v in state.items() if 'layer4' not in k}
        self.refuse(call, 'no complete ResNet', '--pretrained', save(state), *own_args)

    def test_another_depth(self, call, own_args, save):
        state = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
        self.refuse(call, 'holds a ResNet-18, the det', '--pretrained', save(state), *own_args)

    def test_another_width(self, call, own_args, save):
        resnet = MODELS.build(dict(type='ResNet', depth=50, stem_channels=4, base_channels=4))
        path = save(resnet.state_dict())
        self.refuse(call, "fills 0 of the backbone's 53", '--pretrained', path, *own_args)

    def test_a_corrupt_pickle(self, call, own_args, tmp_path, pretrained):
        (tmp_path / 'x.pkl').write_bytes(b'\x80\x04nonsense')
        weights = ('MODEL.WEIGHTS', tmp_path / 'x.pkl')
        self.refuse(call, 'is damaged', *own_args, *weights)
        self.refuse(call, 'this starts from .*x.pkl', '--pretrained', pretrained, *own_args,
                    *weights)  # fmt: skip

    @pytest.mark.parametrize('name', ['x.pkl', 'x.pth', 'x.pyth'])
    def test_weights_that_hold_code(self, call, own_args, tmp_path, monkeypatch, name):
        monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', raising=False)
        path = tmp_path / name
        content = dict(model={}, __author__='x', extra=MakesFolder(str(tmp_path / 'ran')))
        if name == 'x.pkl':
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path)
        flag = 'holds Python objects.*--trust-checkpoint'
        self.refuse(call, flag, *own_args, 'MODEL.WEIGHTS', path)
        self.refuse(call, flag, '--eval-only', *own_args, 'MODEL.WEIGHTS', path)
        (tmp_path / 'out').mkdir(exist_ok=True)
        (tmp_path / 'out/last_checkpoint').write_text(f'../{name}')
        self.refuse(call, flag, '--resume', *own_args)
        assert not (tmp_path / 'ran').exists()

    def test_pretrained_weights_for_the_baseline_without(self, call, own_args, pretrained):
        self.refuse(call, 'this starts from random weights', '--pretrained', pretrained,
                    *own_args, 'FROM_SCRATCH', True)  # fmt: skip

    def test_a_missing_data_root(self, call, pretrained, tmp_path):
        self.refuse(call, 'there is no .*trainval.txt', '--voc-root', tmp_path, '--pretrained',
                    pretrained)  # fmt: skip

    def test_nothing_to_evaluate(self, call, own_args):
        self.refuse(call, 'no fine-tuned detector in .*out', '--eval-only', *own_args)

    def test_a_detector_of_other_classes(self, call, trained, tmp_path):
        root = generated.voc_detection(tmp_path / 'one', ['cell'], trainval=2, test=2)
        self.refuse(call, 'lacks 4 of the weights of this detector', '--voc-root', root,
                    '--eval-only', '--output-dir', trained[0], *TINY)  # fmt: skip

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (('SOLVER.MAX_ITR', 1), r'there is no SOLVER\.MAX_ITR\. Near it: SOLVER\.MAX_ITER'),
            (('SOLVER', 3), 'SOLVER 3: Type mismatch'),
            (('SOLVER.MAX_ITER.X', 3), 'MAX_ITER.X 3: TypeError'),
            (('SOLVER.MAX_ITER',), 'SOLVER.MAX_ITER: options are pairs'),
            (('SOLVER.CHECKPOINT_PERIOD', 0), 'CHECKPOINT_PERIOD must be at least 1, got 0'),
            (('INPUT.MIN_SIZE_TRAIN', ()), 'MIN_SIZE_TRAIN must name a size'),
            (('INPUT.FORMAT', 'x'), r'one of .* got x'),
            (('MODEL.PIXEL_MEAN', [1]), 'the config: .*tensor'),
            (('MODEL.ROI_HEADS.NAME', 'Nothing'), "the config: .*'Nothing'"),
        ],
    )
    def test_a_mistaken_option(self, call, own_args, pretrained, options, message):
        self.refuse(call, message, '--pretrained', pretrained, *own_args, *options)

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('SOLVER:\n  MAX_ITR: 3\n', r'no SOLVER\.MAX_ITR\. Near it: SOLVER\.MAX_ITER'),
            ('a: [', 'ParserError'),
            ('- a\n', 'AttributeError'),
            ('', 'TypeError'),
            ('_BASE_: 3\n', 'AttributeError'),
            ('_BASE_: nothing.yaml\n', 'nothing.yaml'),
            ('a: !!python/object/apply:os.mkdir ["ran"]\n', 'could not determine a constructor'),
        ],
    )
    def test_a_mistaken_config(self, call, tmp_path, text, message):
        path = tmp_path / 'x.yaml'
        path.write_text(text)
        with pytest.raises(SystemExit, match=rf'config {path}: .*{message}') as stopped:
            call('det_transfer', path)
        assert len(str(stopped.value).splitlines()) == 2

    @pytest.mark.parametrize('name', ['no_such.yaml', 'configs/cdc_digits.py'])
    def test_no_config(self, name, call):
        with pytest.raises(SystemExit, match=name):
            call('det_transfer', name)

    @pytest.mark.parametrize(
        'args',
        [
            ('--image-root', 'a', 'b'),
            ('--num-gpus', 0),
            ('--resume', '--overwrite'),
            ('--voc-root', 'a', '--coco-json', 'b', 'c'),
        ],
    )
    def test_flags_that_contradict(self, args, call):
        self.refuse(call, '2', *args)


def test_without_detectron2_it_names_the_command(monkeypatch, call):
    monkeypatch.setitem(sys.modules, 'detectron2', None)
    for name in [name for name in sys.modules if name.startswith('cdc_mm.detection.')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'detectron2.engine', None)
    with pytest.raises(SystemExit, match=r'run tools/install_detectron2\.sh'):
        call('det_transfer', OWN)


def test_cdc_mm_and_the_converter_do_without_detectron2(pretrained, tmp_path):
    (tmp_path / 'detectron2.py').write_text('raise ImportError("not installed")')
    env = dict(PYTHONPATH=f'{tmp_path}:{ROOT}')
    out = tmp_path / 'x.pkl'
    done = run_tool('tools/convert_to_detectron2.py', pretrained, out, env=env)
    assert f'{out}: ResNet-50, 53 convolutions with their batch norms' in done.stdout


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'there is no checkpoint'),
        (b'', 'is damaged'),
        (b'nonsense', 'is damaged'),
        (dict(state_dict={'backbone.conv1.weight': 3}), 'holds no'),
        (dict(state_dict=[1, 2]), 'holds no'),
        (3, 'holds no'),
        (flat_stem, r'conv1\.weight has the shape \(3, 7, 7\)'),
    ],
    ids=range(7),
)
def test_the_converter_says_what_is_wrong(tmp_path, call, content, message):
    path = tmp_path / 'x.pth'
    content = dict(state_dict=content()) if callable(content) else content
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(
        SystemExit, match=rf'error: .*x\.pth.*{message}|{message}.*x\.pth'
    ) as stopped:
        call('convert_to_detectron2', path, tmp_path / 'x.pkl')
    assert len(str(stopped.value).splitlines()) == 2 and not (tmp_path / 'x.pkl').exists()


def test_the_converter_looks_where_it_writes_first(tmp_path, call, pretrained):
    (tmp_path / 'folder.pkl').mkdir()
    for out, message in (
        (tmp_path / 'x.pth', r'must end in \.pkl'),
        (tmp_path / 'folder.pkl', 'cannot be written to: it is a folder'),
        ('/proc/x/y.pkl', 'cannot be written to'),
    ):
        for source in (pretrained, tmp_path / 'no.pth'):
            with pytest.raises(SystemExit, match=f'error: .*{message}'):
                call('convert_to_detectron2', source, out)


def test_an_output_dir_is_of_one_training(own, pretrained, tmp_path, call, capfd):
    args = ('det_transfer', OWN, '--voc-root', own, '--pretrained', pretrained, '--output-dir',
            tmp_path, *TINY, 'SOLVER.MAX_ITER', 1)  # fmt: skip
    (tmp_path / 'model_0000007.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('model_0000007.pth')
    with pytest.raises(SystemExit) as stopped:
        call(*args)
    text = str(stopped.value)
    assert f'{tmp_path} holds the checkpoints of another run (model_0000007.pth)' in text
    for way in ('--resume', '--output-dir', '--overwrite'):
        assert way in text
    # Nor does a mistake lose them.
    with pytest.raises(SystemExit, match=r'the config: .*Nothing'):
        call(*args, 'MODEL.ROI_HEADS.NAME', 'Nothing', '--overwrite')
    assert (tmp_path / 'model_0000007.pth').exists() and not (tmp_path / 'run.json').exists()
    call(*args, '--overwrite')
    assert 'removing model_0000007.pth of the run before' in capfd.readouterr().out
    assert not (tmp_path / 'model_0000007.pth').exists()
    assert json.loads((tmp_path / 'run.json').read_text())['kind'] == 'detection'
    assert (tmp_path / 'last_checkpoint').read_text() == 'model_final.pth'
    # Of several seeds each folder is one; none is trained if one cannot be.
    (tmp_path / 'seed_6').mkdir()
    (tmp_path / 'seed_6/model_final.pth').touch()
    with pytest.raises(SystemExit, match=r'seed_6 holds the checkpoints .*model_final\.pth'):
        call(*args, 'SEED', 5, '--seeds', 2)
    assert not (tmp_path / 'seed_5/model_final.pth').exists()


@pytest.mark.parametrize('seeds', [(), ('--seeds', 2)], ids=['one', 'seeds'])
def test_two_trainings_in_one_output_dir_are_refused(own, pretrained, tmp_path, call, seeds):
    process = hold(tmp_path)
    try:
        for flags in ([], ['--resume'], ['--overwrite']):
            with pytest.raises(
                SystemExit, match=rf'a training is running in {tmp_path}: process {process.pid} on'
            ):
                call('det_transfer', OWN, '--voc-root', own, '--pretrained', pretrained,
                     '--output-dir', tmp_path, *TINY, *flags, *seeds)  # fmt: skip
        assert not (tmp_path / 'pretrained.pkl').exists()
    finally:
        process.kill()
        process.wait()
