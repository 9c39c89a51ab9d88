"""What a user may get wrong in any tool: one line each, the same in every tool."""

import os
import signal
import socket
import subprocess
import sys
import time

import generated
import pytest
from helpers import CONFIG, ROOT, SMALL, run_tool

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


def test_ctrl_c_is_one_line(tmp_path):
    process = subprocess.Popen(
        [sys.executable, 'tools/train.py', CONFIG, '--work-dir', str(tmp_path), '--cfg-options',
         *SMALL, 'train_cfg.max_epochs=1000'],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        # A suite in the background of a shell ignores the signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not (tmp_path / 'epoch_1.pth').is_file() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert error == 'stopped by Ctrl-C; what was saved is complete (train: --resume)\n'
    assert process.returncode != 0


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
    (root / 'list.txt').write_bytes(text.encode() + 'train/a/schön.jpg\n'.encode('latin-1'))
    with pytest.raises(SystemExit, match=rf'list\.txt is not UTF-8: see line {len(names) + 1}'):
        call('train', *args, tmp_path / 'b', options=options)
