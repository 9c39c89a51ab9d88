"""Every command in README.md and docs/ could be typed: files exist, options parse and reach."""

import csv
import importlib.util
import re
import shlex
import sys
from functools import lru_cache

import generated
import pytest
from helpers import ROOT

from cdc_mm.apis import read_config

DOCS = ['README.md', *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md'))]
# What a reader puts in.
PLACEHOLDERS = dict(
    CONFIG='configs/cdc_digits.py', CKPT='x.pth', FILE='x.pth', DIR='data', WORK_DIR='work_dirs/x',
    PARTITION='gpu', JOB='job', TRAIN_DIR='train', TEST_DIR='test', PHOTOS='photos', NEW='new',
) | {'OUT/model/config.json': 'configs/folder/scan_lite0.py'}  # fmt: skip
# Where the arguments of the tool begin in those of the script, and which go before them.
SCRIPTS = {
    'dist_train': ('train', [0], 2),
    'dist_test': ('test', [0, 1], 3),
    'slurm_train': ('train', [2], 4),
    'slurm_test': ('test', [2, 3], 4),
}
TOOLS = {path.stem: path for path in (ROOT / 'tools').rglob('*.*') if path.suffix in ('.py', '.sh')}


def commands(text):
    """The commands of a page, in blocks and in the line, as lists of words."""
    blocks = re.findall(r'```(?:bash|sh)\n(.*?)```', text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
    rest = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
    lines += re.findall(r'`([^`]+)`', rest)
    found = []
    for line in lines:
        # A line of prose may be broken in the middle of a command.
        words = shlex.split(' '.join(line.split()), comments=True) if "'" not in line else []
        while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
            words.pop(0)
        program, second, *_ = [*words, '', '']
        if (
            re.fullmatch(r'tools/.*\.(py|sh)|make|cdc-.*', program)
            or (program == 'python' and (second.startswith('benchmarks/') or 'cdc_mm' in words))
            or (program.endswith('.py') and '/' not in program and second)
        ):
            found.append(words)
    return found


PAGES = {page: commands((ROOT / page).read_text()) for page in DOCS}
ALL = [
    pytest.param(page, words, id=f'{page}: {" ".join(words)}')
    for page, lines in PAGES.items()
    for words in {tuple(words): words for words in lines}.values()
]


def tool_and_arguments(words):
    """Name of the tool and the arguments it gets, None without any; checks that it exists."""
    program, *arguments = words
    if program == 'make':
        (target,) = arguments
        assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), target
        return None, None
    if program == 'python' and arguments[0].startswith('benchmarks/'):
        assert (ROOT / arguments[0]).is_file(), arguments[0]
        return None, None
    if program == 'python':
        name, arguments = (arguments[2], arguments[3:]) if len(arguments) > 2 else (None, None)
        if name is None or name.startswith('-'):
            return None, None
    elif program.startswith('cdc-'):
        name = program.removeprefix('cdc-').replace('-', '_')
    else:
        name = program.rpartition('/')[2].rpartition('.')[0]
        path = ROOT / (program if '/' in program else f'tools/analysis_tools/{program}')
        assert path.is_file(), program
    assert name in TOOLS, name
    arguments = [PLACEHOLDERS.get(word, word) for word in arguments if word != '...']
    arguments = [re.sub(r'=(CKPT|FILE)$', '=x.pth', word) for word in arguments]
    if name in SCRIPTS and arguments:
        name, before, begin = SCRIPTS[name]
        arguments = [arguments[i] for i in before] + arguments[begin:]
    return name, arguments


def load(name, arguments, monkeypatch):
    """The module of a tool, which is going to see the arguments."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    spec = importlib.util.spec_from_file_location(f'docs_{name}', TOOLS[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    return module


@lru_cache
def find_config(filename):
    """The file of a config; a run writes its own into its work dir, a clustered folder its copy."""
    if filename == 'OUT/model/config.json':
        return ROOT / 'configs/folder/scan_lite0.py'
    if filename.startswith('work_dirs/'):
        (path,) = (ROOT / 'configs').rglob(filename.rpartition('/')[2])
        return path
    return ROOT / filename


def last_checkpoint(folder, page):
    """The checkpoint that a training leaves in a folder of work_dirs last."""
    for words in PAGES[page]:
        if '--work-dir' in words and words[words.index('--work-dir') + 1] == folder:
            config = words[1]
            break
    else:
        stage = folder.split('/')[-2] if '/seed' in folder else folder.split('/')[-1]
        (config,) = (ROOT / 'configs').rglob(f'{stage.rpartition("+")[2]}.py')
    loop = read_config(str(ROOT / config)).train_cfg
    return f'epoch_{loop.max_epochs}.pth' if 'max_epochs' in loop else f'iter_{loop.max_iters}.pth'


@pytest.mark.parametrize(('page', 'words'), ALL)
def test_a_command_could_be_typed(page, words, monkeypatch):
    name, arguments = tool_and_arguments(words)
    if not arguments or TOOLS[name].suffix != '.py':
        return
    if name == 'det_transfer':
        arguments[0] = arguments[0].replace(
            PLACEHOLDERS['CONFIG'], 'configs/detection/voc_R_50_C4_24k_cdc.yaml'
        )
    args = load(name, arguments, monkeypatch).parse_args()
    configs = getattr(args, 'configs', None) or [getattr(args, 'config', None)]
    configs = [find_config(config) for config in configs if config is not None]
    assert all(config.is_file() for config in configs), configs
    if name == 'det_transfer':
        pytest.importorskip('detectron2')
        from cdc_mm.detection.config import load_config

        load_config(str(configs[0]), args.options)
    options = getattr(args, 'cfg_options', None) or {}
    refused = []
    for config in configs if name != 'det_transfer' else []:
        try:
            read_config(str(config), options)
        except ValueError as error:
            refused.append(str(error))
    # Of a chain, an option need not reach every config.
    assert len(refused) < max(len(configs), 1) or not refused, refused
    for folder, file in re.findall(r'(work_dirs/\S+)/((?:epoch|iter)_\d+\.pth)', ' '.join(words)):
        assert file == last_checkpoint(folder, page)


def test_pages_have_commands():
    counts = {page: len(lines) for page, lines in PAGES.items()}
    assert counts['README.md'] > 25 and counts['docs/reproduce.md'] > 35, counts


def test_the_commands_for_own_images_run(tmp_path, monkeypatch, capsys):
    photos, new = (
        generated.image_folder(tmp_path / name, images_per_class=6, size=40)
        for name in ('photos', 'new')
    )
    own = [words for words in PAGES['README.md'] if 'work_dirs/my_images' in ' '.join(words)]
    assert [words[0] for words in own] == ['tools/train.py', 'tools/test.py', 'tools/test.py']
    small = [
        'epochs=1', 'batch_size=24', 'num_workers=0', 'image_size=32',
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'model.queue_size=8',
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for words in own:
        words = [
            word.replace('PHOTOS', str(photos)).replace('NEW', str(new)).replace('_400', '_1')
            for word in words
        ]
        options = small if words[0] == 'tools/train.py' else []
        arguments = words[1:] + options
        load(words[0][len('tools/') : -len('.py')], arguments, monkeypatch).main()
    for table, folder in (('clusters.csv', photos), ('new.csv', new)):
        with open(table) as file:
            rows = list(csv.DictReader(file))
        assert {row['image'] for row in rows} == set(map(str, folder.rglob('*.jpg')))
        assert all(0 <= int(row['cluster']) < 20 for row in rows)
    assert (tmp_path / 'work_dirs' / 'my_images' / 'contact_sheet.png').is_file()


@pytest.mark.parametrize('page', DOCS)
def test_tests_that_are_named_exist(page):
    named = re.findall(r'`(tests/[\w/]+\.py)`', (ROOT / page).read_text())
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_example_for_a_folder_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(
        r'```python\n(.*?)```', (ROOT / 'docs/folder.md').read_text(), re.DOTALL
    )
    photos = generated.image_folder(tmp_path / 'photos', images_per_class=6, size=40)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    names = dict(photos=photos, new_photo=str(next(photos.rglob('*.jpg'))))
    exec(example, names)
    assert len(names['clusterer'].labels_) == 24
    assert (tmp_path / 'report.html').is_file() and (tmp_path / 'cache/cdc_mm/features').is_dir()
    assert capsys.readouterr().out.splitlines()[-1] in ('0', '1', '2')
