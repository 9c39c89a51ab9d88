"""What a user may get wrong in any tool: one line each, the same in every tool."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import generated
import pytest
from helpers import CONFIG, ROOT, SMALL, free_port, run_tool

TOOLS = {
    'train': (),
    'test': ('x.pth',),
    'eval_knn': ('x.pth',),
    'eval_kmeans': ('x.pth',),
    'eval_voc07_svm': ('x.pth',),
    'run_seeds': (),
    'analysis_tools/similarity': ('x.pth',),
    'analysis_tools/tsne': ('x.pth',),
    'analysis_tools/temperature_sweep': (),
}


@pytest.mark.parametrize('tool', TOOLS)
def test_a_config_with_a_syntax_error_and_an_address(call, tmp_path, tool):
    config = tmp_path / 'broken.py'
    config.write_text('model = dict(\n')
    for name, message in (
        (config, rf'error: config {config}: SyntaxError: .* line 1'),
        ('https://example.org/config.py', r'error: .*https://example.org/config\.py.* local file'),
    ):
        with pytest.raises(SystemExit, match=message) as stopped:
            call(tool, name, *TOOLS[tool], options=None)
        assert len(str(stopped.value).splitlines()) == 2


@pytest.mark.parametrize(
    ('script', 'args'),
    [
        ('dist_train', []),
        ('dist_train', [CONFIG]),
        ('dist_train', [CONFIG, '--work-dir']),
        ('dist_test', [CONFIG, 'x.pth']),
        ('slurm_train', []),
        ('slurm_test', ['a', 'b', 'c']),
    ],
)
def test_scripts_say_what_they_want(script, args):
    done = run_tool(f'tools/{script}.sh', *args, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f'usage: tools/{script}.sh ')


@pytest.mark.parametrize('script', ['dist_train', 'dist_test'])
def test_a_port_that_is_taken_is_named(script):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        args = [CONFIG, *(['x.pth'] if script == 'dist_test' else []), 2]
        done = run_tool(f'tools/{script}.sh', *args, check=False, env=dict(PORT=str(port)))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert f'error: port {port} is taken' in done.stderr and f'PORT={port + 1}' in done.stderr


def test_what_is_wrong_with_a_job_is_told_once_and_last(tmp_path):
    """Each of the ranks has the same to say, and torchrun a summary."""
    args = ('tools/dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--cfg-options', 'lrr=1')
    done = run_tool(*args, check=False, env=dict(PORT=str(free_port())))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f'error: config {CONFIG}: there is no lrr to set.')


# Ctrl-C when a process imports a certain module. From a rank it goes to torchrun, which passes it
# on: its ranks are in sessions of their own.
INTERRUPTER = """
import os, signal, sys

class Interrupter:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ['CDC_MM_STOP_AT'] and ('RANK' in os.environ) == (
            os.environ['CDC_MM_STOP_IN'] == 'rank'
        ):
            rank = 'RANK' in os.environ
            os.kill(os.getppid() if rank else os.getpid(), signal.SIGINT)
            while rank:
                signal.pause()

sys.meta_path.insert(0, Interrupter)
"""


@pytest.fixture
def interrupted(tmp_path):
    """Start a command that gets Ctrl-C at an import; its status for a shell and what it printed."""
    (tmp_path / 'sitecustomize.py').write_text(INTERRUPTER)

    def run(*args, at='torch', where='first'):
        env = dict(os.environ, PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}', OMP_NUM_THREADS='1',
                   PATH=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
                   CDC_MM_STOP_AT=at, CDC_MM_STOP_IN=where, PORT=str(free_port()))  # fmt: skip
        # A shell in between gives the status that users see, 128 + the signal.
        done = subprocess.run(
            ['bash', '-c', 'trap : INT; "$@"; exit $?', 'bash', *map(str, args)],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    'command',
    [
        *[(sys.executable, f'tools/{tool}.py', CONFIG, *args) for tool, args in TOOLS.items()],
        (sys.executable, 'tools/quickstart.py'),
        (sys.executable, 'tools/choose_k.py', CONFIG),
        (sys.executable, 'tools/det_transfer.py', 'x.yaml'),
        (sys.executable, 'tools/publish_model.py', 'x.pth', 'y.pth'),
        (sys.executable, 'tools/cluster.py', 'x', '--num-clusters=2', '--out=y'),
        (sys.executable, 'tools/convert_to_detectron2.py', 'x.pth', 'x.pkl'),
        (sys.executable, 'tools/analysis_tools/curve.py', 'work_dir'),
        (sys.executable, '-m', 'cdc_mm', 'train', CONFIG),
        ('tools/dist_train.sh', CONFIG, 2),
        ('tools/dist_test.sh', CONFIG, 'x.pth', 2),
    ],
    ids=lambda command: ' '.join(map(str, command[1:3])),
)
def test_ctrl_c_while_libraries_are_imported_ends_in_silence(interrupted, command):
    assert interrupted(*command) == (130, '')


def test_ctrl_c_while_ranks_import_their_libraries(interrupted, tmp_path):
    args = ('tools/dist_train.sh', CONFIG, 2, '--work-dir', tmp_path / 'work')
    assert interrupted(*args, where='rank') == (130, '')


@pytest.mark.parametrize('command', ['tools/train.py', '-m cdc_mm train'])
def test_ctrl_c_in_a_run_has_the_status_of_one(interrupted, tmp_path, command):
    (tmp_path / 'late_hook.py').write_text(LATE_HOOK)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        "custom_imports = dict(imports=['cdc_mm', 'late_hook'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='LateHook')]\n"
    )
    status, text = interrupted(
        sys.executable, *command.split(), config, '--work-dir', tmp_path / 'work',
        '--cfg-options', *SMALL, at='nothing_of_that_name',
    )  # fmt: skip
    assert status == 130 and 'Traceback' not in text, text
    assert text.endswith('stopped by Ctrl-C; what was saved is complete (train: --resume)\n')
    assert (tmp_path / 'work/epoch_1.pth').is_file()


LATE_HOOK = """
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

@HOOKS.register_module()
class LateHook(Hook):
    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            import nothing_of_that_name
"""


def test_lists_with_a_byte_order_mark_and_in_another_encoding(call, tmp_path, capsys):
    root = generated.image_folder(tmp_path / 'data')
    names = [path.relative_to(root) for path in sorted((root / 'train').rglob('*.jpg'))]
    options = [
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'train_dataloader.batch_size=4', 'model.queue_size=8',
        'train_dataloader.num_workers=0', 'train_cfg.max_epochs=1', f'data_root={root}',
        'num_clusters=4',
        'train_dataloader.dataset.ann_file=list.txt', 'train_dataloader.dataset.data_prefix=',
    ]  # fmt: skip
    text = ''.join(f'{name}\r\n' for name in names)
    (root / 'list.txt').write_bytes(b'\xef\xbb\xbf' + text.encode())
    args = ('configs/cdc_r18_cifar10_folder.py', '--no-validate', '--work-dir')
    call('train', *args, tmp_path / 'a', options=options)
    assert (tmp_path / 'a' / 'epoch_1.pth').is_file()
    assert not list((tmp_path / 'a').rglob('faulty_images.txt'))  # the mark is no part of a name
    (root / 'list.txt').write_bytes(text.encode() + 'train/a/schön.jpg\n'.encode('latin-1'))
    with pytest.raises(SystemExit, match=rf'list\.txt is not UTF-8: see line {len(names) + 1}'):
        call('train', *args, tmp_path / 'b', options=options)
