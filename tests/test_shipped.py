"""The package as it is installed: what a wheel holds, python -m cdc_mm, help(cdc_mm)."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT, SMALL

import cdc_mm
from cdc_mm import __main__ as command
from cdc_mm.apis import read_config
from cdc_mm.shipped import find_shipped, find_tool, shipped_root

CALL = """
import sys
from cdc_mm import __main__ as command
sys.argv = ['cdc_mm']
command.main()
sys.argv = ['cdc_mm', 'train', 'configs/cdc_digits.py', *sys.stdin.read().splitlines()]
command.main()
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel of this checkout."""
    pytest.importorskip('setuptools')
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('cdc_mm', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('LICENSE', 'README.md', 'pyproject.toml', 'requirements.txt', 'setup.py'):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation',
               '--no-index', '--wheel-dir', folder, source]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return next(folder.glob('*.whl'))


def test_a_wheel_holds_configs_tools_and_commands(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split('/')[0] for name in names} == {
        'cdc_mm',  # and nothing called tools, which detectron2 has
        f'cdc_mm-{cdc_mm.__version__}.dist-info',
    }
    for folder in ('configs', 'tools'):
        held = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob('*')
            if path.is_file() and '__pycache__' not in path.parts
        }
        shipped = {name.removeprefix('cdc_mm/_shipped/') for name in names}
        assert held <= shipped, held - shipped
    # What the page of a clustered folder is made of.
    page = {f'cdc_mm/folders/report.{end}' for end in ('css', 'html.jinja', 'js')}
    assert page <= set(names)
    entries = next(name for name in names if name.endswith('entry_points.txt'))
    text = zipfile.ZipFile(wheel).read(entries).decode()
    assert all(name in text for name in ('cdc-train = ', 'cdc-test = ', 'cdc-run-seeds = '))


def test_an_installed_wheel_trains_from_an_empty_folder(wheel, tmp_path):
    site, here = tmp_path / 'site', tmp_path / 'here'
    zipfile.ZipFile(wheel).extractall(site)
    here.mkdir()
    options = ['--cfg-options', *SMALL, 'epochs=1']
    done = subprocess.run(
        [sys.executable, '-c', CALL],
        cwd=here,
        env={**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1'},
        input='\n'.join(options),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f'they lie in {site}/cdc_mm/_shipped' in done.stdout
    assert 'epoch 1: ACC' in done.stdout
    assert (here / 'work_dirs' / 'cdc_digits' / 'epoch_1.pth').is_file()


def test_what_there_is_is_said(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['cdc_mm'])
    command.main()
    text = capsys.readouterr().out
    for part in (
        cdc_mm.__version__, ' run_seeds ', ' tsne', 'configs/selflabel/selflabel_digits.py',
        'configs/detection/voc_R_50_C4_24k_cdc.yaml', 'cdc-run-seeds',
    ):  # fmt: skip
        assert part in text
    assert '_base_' not in text and 'shared_args' not in text
    monkeypatch.setattr(sys, 'argv', ['cdc_mm', '--version'])
    command.main()
    assert capsys.readouterr().out == f'{cdc_mm.__version__}\n'


def test_a_tool_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['cdc_mm', 'trian'])
    with pytest.raises(SystemExit, match=r'error: there is no tool trian; there are .*, train'):
        command.main()


@pytest.mark.parametrize(
    ('entry', 'tool'), [('train', 'train'), ('test', 'test'), ('run_seeds', 'run_seeds')]
)
def test_commands_run_the_tools_of_their_names(monkeypatch, entry, tool):
    ran = []
    monkeypatch.setattr(command.runpy, 'run_path', lambda path, run_name: ran.append(path))
    monkeypatch.setattr(sys, 'argv', ['cdc-command', 'x.py', '--help'])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    getattr(command, entry)()
    assert ran == [str(find_tool(tool))]
    assert sys.argv == [str(ROOT / 'tools' / f'{tool}.py'), 'x.py', '--help']


def test_a_shell_script_runs_with_this_python(monkeypatch):
    ran = []
    monkeypatch.setattr(command.os, 'execvpe', lambda *args: ran.append(args))
    monkeypatch.setattr(sys, 'argv', ['cdc_mm', 'dist_train', 'x.py', '2'])
    command.main()
    ((program, arguments, env),) = ran
    assert program == 'bash'
    assert arguments == ['bash', str(ROOT / 'tools' / 'dist_train.sh'), 'x.py', '2']
    assert env['PATH'].startswith(str(Path(sys.executable).parent))


def test_shipped_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'configs/cdc_digits.py'
    assert find_shipped(name) == str(shipped_root() / name)
    assert read_config(name).num_clusters == 10
    (tmp_path / 'configs').mkdir()
    (tmp_path / name).write_text('num_clusters = 3')
    assert find_shipped(name) == name and read_config(name).num_clusters == 3  # one's own wins
    assert find_shipped('configs/none.py') == 'configs/none.py'


def test_the_example_of_the_package_runs(tmp_path, monkeypatch, capsys):
    example = cdc_mm.__doc__.split('the cluster of an image::\n')[1].split('\nFor images')[0]
    example = textwrap.dedent(example).replace('160', '1')
    assert 'epoch_1.pth' in example
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    (accuracy,) = (float(line) for line in lines if re.fullmatch(r'\d+\.\d+', line))
    assert 10 < accuracy <= 100
    assert 0 <= int(lines[-1][-1]) < 10  # after mmpretrain's bar
