"""The tools as a user types them. Those that fail early run in this process to save time."""

import csv
import json
import pickle
import re

import cv2
import generated
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, free_port, log_of, run_tool


def test_training_logs_and_writes(trained):
    work_dir, _ = trained
    log = log_of(work_dir)
    for part in (
        'System environment:', 'Config:\n', 'eta:', 'loss_infonce:', 'loss_cluster:',
        'assign_entropy:', 'largest_share:', 'clustering/acc:', 'Contact sheets:',
    ):  # fmt: skip
        assert part in log
    assert (work_dir / 'epoch_2.pth').is_file() and (work_dir / 'contact_sheet.png').is_file()
    assert torch.load(work_dir / 'epoch_2.pth', weights_only=True)['meta']['epoch'] == 2
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    assert '"assign_entropy"' in scalars and '"largest_share"' in scalars


def test_the_console_has_what_a_person_reads(trained):
    work_dir, output = trained
    lines = [line[10:] for line in output.splitlines()]  # without the time of day
    # On a slow machine there is progress too.
    lines = [line for line in lines if not re.match(r'(epoch \d/\d|validation), batch', line)]
    assert lines[0].startswith(f'log: {work_dir}/')
    least = 'contact_sheet_least_certain.png'
    assert lines[1] == f'Contact sheets: {work_dir}/contact_sheet.png, {least}'
    for epoch, line in enumerate(lines[2:4], 1):
        assert re.fullmatch(rf'epoch {epoch}: ACC .*, NMI .*, ARI .* \(360 images\)', line)
    assert re.fullmatch(r'trained to epoch 2 in \d:\d\d:\d\d', lines[4])
    assert lines[5:] == [f'checkpoint: {work_dir}/epoch_2.pth']


def test_an_error_is_all_that_the_console_shows(call, tmp_path, capfd):
    with pytest.raises(SystemExit, match=r'Lower train_dataloader\.batch_size') as stopped:
        call('train', CONFIG, '--work-dir', tmp_path,
             options=['train_dataloader.batch_size=2000'])  # fmt: skip
    assert len(str(stopped.value).splitlines()) == 2
    assert capfd.readouterr() == ('', '')


def test_verbose_shows_everything(call, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv('CDC_MM_VERBOSE', '1')
    call('train', CONFIG, '--work-dir', tmp_path,
         options=(*SMALL, 'train_cfg.max_epochs=1'))  # fmt: skip
    text = capfd.readouterr().out
    for part in ('System environment:', 'Config:\n', 'eta:', 'Exp name:', 'clustering/acc:'):
        assert part in text
    assert 'trained to epoch' not in text


def test_resume_continues(trained, tmp_path, call, capsys):
    work_dir, _ = trained
    call('train', CONFIG, '--work-dir', tmp_path, '--resume', work_dir / 'epoch_1.pth',
         '--no-validate', options=(*SMALL, 'train_cfg.max_epochs=3'))  # fmt: skip
    text = capsys.readouterr().out
    assert 'goes on after epoch 1\n' in text and 'warning' not in text
    assert (tmp_path / 'epoch_2.pth').is_file() and (tmp_path / 'epoch_3.pth').is_file()
    assert not (tmp_path / 'epoch_1.pth').exists()
    state = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    assert (state['meta']['epoch'], state['meta']['iter']) == (3, 66)
    before = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    key = 'queue.ptr'
    advanced = (int(before['state_dict'][key]) + 44 * 128) % 100
    assert int(state['state_dict'][key]) == advanced


def test_resume_without_a_value_takes_the_latest(tmp_path, call):
    for epochs in (1, 2):
        call('train', CONFIG, '--work-dir', tmp_path, '--resume', '--no-validate',
             options=(*SMALL, f'train_cfg.max_epochs={epochs}'))  # fmt: skip
    state = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert state['meta']['iter'] == 44


def test_test_gives_the_metrics_of_validation(trained, tmp_path, call):
    work_dir, _ = trained
    out = tmp_path / 'metrics.json'
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
         '--out-item', 'metrics', options=SMALL)  # fmt: skip
    metrics = json.loads(out.read_text())
    assert metrics['clustering/num_samples'] == 360
    assert sum(metrics['clustering/cluster_sizes']) == 360
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    validated = [json.loads(line) for line in scalars]
    acc = [line['clustering/acc'] for line in validated if 'clustering/acc' in line][-1]
    assert metrics['clustering/acc'] == pytest.approx(acc)
    sheet = tmp_path / 'test' / 'epoch_2' / 'contact_sheet.png'
    assert cv2.imread(str(sheet)).shape[0] > 60


def test_an_evaluation_leaves_the_folder_of_the_training_as_it_is(trained, call, capsys):
    work_dir, _ = trained
    before = {path: path.stat().st_mtime_ns for path in work_dir.iterdir()}
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', work_dir, options=SMALL)
    own = work_dir / 'test' / 'epoch_2'
    assert f'Contact sheets: {own}/contact_sheet.png' in capsys.readouterr().out
    before.pop(work_dir / 'test', None)
    assert before == {
        path: path.stat().st_mtime_ns for path in work_dir.iterdir() if path.name != 'test'
    }


def test_the_file_of_out_is_checked_before_the_evaluation(trained, tmp_path, call):
    work_dir, _ = trained
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit, match=r'--out .*/file/x\.csv cannot be written to: '):
        call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path,
             '--out', tmp_path / 'file' / 'x.csv', options=SMALL)  # fmt: skip
    assert not (tmp_path / 'test').exists()
    out = tmp_path / 'made' / 'for' / 'it' / 'metrics.json'
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
         '--out-item', 'metrics', options=SMALL)  # fmt: skip
    assert out.is_file()


def test_test_writes_predictions_and_pictures(trained, tmp_path, call):
    work_dir, _ = trained
    out = tmp_path / 'pred.pkl'
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
         '--show-dir', tmp_path / 'show', '--interval', 100, options=SMALL)  # fmt: skip
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 360 and predictions[0]['pred_score'].shape == (10,)
    pictures = sorted(path.name for path in (tmp_path / 'show').iterdir())
    sheets = ['contact_sheet.png', 'contact_sheet_least_certain.png']
    assert pictures == ['000000.png', '000100.png', '000200.png', '000300.png', *sheets]


def test_test_writes_the_cluster_of_each_image(trained, tmp_path, call):
    work_dir, _ = trained
    out = tmp_path / 'clusters.csv'
    # Clustering new images does not open the training data.
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
         options=(*SMALL, 'train_dataloader.dataset.split=absent'))  # fmt: skip
    rows = [line.split(',') for line in out.read_text().splitlines()]
    assert rows[0] == ['image', 'cluster', 'confidence'] and len(rows) == 361
    assert [row[0] for row in rows[1:]] == [str(i) for i in range(360)]
    assert all(0 <= int(cluster) < 10 and 0.1 <= float(p) <= 1 for _, cluster, p in rows[1:])


def test_tta_averages_flips(trained, tmp_path, call):
    work_dir, _ = trained
    out = tmp_path / 'metrics.json'
    call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
         '--out-item', 'metrics', '--tta', options=SMALL)  # fmt: skip
    assert json.loads(out.read_text())['clustering/num_samples'] == 360


def test_two_processes_without_a_gpu(tmp_path, call):
    options = (*SMALL, 'train_cfg.max_epochs=1')
    env = dict(PORT=str(free_port()))
    done = run_tool('tools/dist_train.sh', CONFIG, 2, '--work-dir', tmp_path / 'train',
                    '--cfg-options', *options, env=env)  # fmt: skip
    assert 'Distributed training: True' in log_of(tmp_path / 'train')
    assert done.stdout.count('epoch 1: ACC') == 1  # one process of them speaks
    checkpoint = tmp_path / 'train' / 'epoch_1.pth'
    assert torch.load(checkpoint, weights_only=True)['meta']['iter'] == 11
    options += ('test_dataloader.batch_size=50',)
    for name, extra in (('plain', []), ('tta', ['--tta'])):
        two, one = (tmp_path / f'{name}_{count}.json' for count in ('two', 'one'))
        args = (*extra, '--work-dir', tmp_path / name, '--out-item', 'metrics', '--out')
        done = run_tool('tools/dist_test.sh', CONFIG, checkpoint, 2, *args, two,
                        '--cfg-options', *options, env=env)  # fmt: skip
        assert len(done.stdout.splitlines()) < 8 and done.stderr == ''
        call('test', CONFIG, checkpoint, *args, one, options=options)
        two, one = (json.loads(path.read_text()) for path in (two, one))
        assert two.pop('clustering/cluster_sizes') == one.pop('clustering/cluster_sizes')
        assert two == pytest.approx(one)


def test_slurm_scripts_call_the_tools(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    srun.chmod(0o755)
    env = dict(PATH=f'{tmp_path}:/usr/bin:/bin', GPUS='16', SRUN_ARGS='--time=1 --mem=2')
    train = run_tool('tools/slurm_train.sh', 'gpu', 'job', CONFIG, 'work', '--amp', env=env).stdout
    assert str(ROOT) in train and '-p gpu --job-name=job' in train
    assert '--ntasks=16 --ntasks-per-node=8 --cpus-per-task=5' in train
    assert f'--time=1 --mem=2 python -u {ROOT}/tools/train.py {CONFIG}' in train
    assert train.strip().endswith('--work-dir work --launcher slurm --amp')
    test = run_tool('tools/slurm_test.sh', 'gpu', 'job', CONFIG, 'x.pth', env=env).stdout
    assert test.strip().endswith(f'{ROOT}/tools/test.py {CONFIG} x.pth --launcher slurm')


def test_quickstart_ends_with_the_table_and_the_next_command(tmp_path):
    done = run_tool('tools/quickstart.py', '--seed', 1, '--work-dir', tmp_path, '--cfg-options',
                    *SMALL, 'train_cfg.max_epochs=1')  # fmt: skip
    result = json.loads((tmp_path / 'quickstart.json').read_text())
    table = done.stdout[done.stdout.index('Held-out digits: 360 images') :]
    assert len(done.stdout.splitlines()) < 40 and done.stderr == ''
    rows = ('k-means on pixels', "k-means on CDC's features", 'CDC', 'CDC, re-clustered')
    for name in rows:
        row = result[name]
        line = next(line for line in table.splitlines() if line.startswith(f'| {name} '))
        printed = [float(number) for number in line.strip('| ').split('|')[1:]]
        assert printed == pytest.approx([row['acc'], row['nmi'], row['ari']], abs=0.06)
    work_dir = tmp_path / 'cdc_digits_recluster'
    checkpoint = str(work_dir / 'epoch_1.pth')
    assert checkpoint in table and str(work_dir / 'contact_sheet.png') in table
    assert str(work_dir / 'report.html') in table
    assert 'Handwritten digits' in (work_dir / 'report.html').read_text()
    assert f'tools/test.py configs/cdc_digits_recluster.py {checkpoint}' in table
    assert (tmp_path / 'cdc_digits' / 'epoch_1.pth').is_file()
    assert result['k-means on pixels']['acc'] > 60  # k-means is a real rival, not a straw man


def test_amp_on_a_cpu_trains_and_resumes(call, tmp_path):
    options = (*SMALL, 'train_cfg.max_epochs=2')
    call('train', CONFIG, '--amp', '--work-dir', tmp_path / 'whole', options=options)
    call('train', CONFIG, '--amp', '--work-dir', tmp_path / 'resumed',
         '--resume', tmp_path / 'whole/epoch_1.pth', options=options)  # fmt: skip
    whole, resumed = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict']
        for name in ('whole', 'resumed')
    )
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert all(value.dtype != torch.bfloat16 for value in whole.values())
    call('test', CONFIG, tmp_path / 'whole/epoch_2.pth', '--amp', '--work-dir', tmp_path / 'test',
         '--out', tmp_path / 'metrics.json', '--out-item', 'metrics', options=SMALL)  # fmt: skip
    assert json.loads((tmp_path / 'metrics.json').read_text())['clustering/num_samples'] == 360


FOLDER = 'configs/cdc_r18_cifar10_folder.py'


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        ('configs/none.py', [], 'none.py'),
        (CONFIG, ['model.head.num_clusters=1'], 'num_clusters must be at least 2, got 1'),
        (CONFIG, ['model.head.num_cluster=7'], 'num_cluster'),
        (CONFIG, ['model.queue=7'], 'model.queue is no argument of CDC. Near it: queue_size.'),
        (CONFIG, ['model.neck.in_channels=99'], 'Leave neck.in_channels out'),
        (CONFIG, ['model.neck.out_channels=99'], 'the neck puts out 99'),
        (CONFIG, ['model.queue_size=0'], 'queue_size must be at least 1'),
        (CONFIG, ['train_dataloader.batch_size=2000'], 'Lower train_dataloader.batch_size'),
        (CONFIG, ['train_dataloader.batch_size=1'], 'leave a batch of one'),
        (
            CONFIG,
            ['train_dataloader.batch_size=359', 'train_dataloader.drop_last=False'],
            'batches of 359 from 1437 images',
        ),
        (CONFIG, ['optim_wrapper.optimizer.rate=1'], 'optimizer.rate is no argument of AdamW.'),
        (CONFIG, ['model.type=CDD'], 'model.type: there is no CDD. Near it: CDC.'),
        (CONFIG, ['load_from=none.pth'], 'there is no checkpoint none.pth'),
        (FOLDER, [], 'data/cifar10_folder/train does not exist'),
    ],
)
def test_training_refuses_mistakes_in_one_line(call, tmp_path, config, options, message):
    with pytest.raises(SystemExit) as stopped:
        call('train', config, '--work-dir', tmp_path, options=options)
    text = str(stopped.value)
    assert text.startswith('error: ') and message in text, text
    assert not list(tmp_path.glob('*.pth'))


def test_training_refuses_an_empty_folder(call, tmp_path):
    for split in ('train', 'test'):
        (tmp_path / 'data' / split / 'a').mkdir(parents=True)
    with pytest.raises(SystemExit, match='data/train holds no images'):
        call('train', FOLDER, '--work-dir', tmp_path,
             options=[f'train_dataloader.dataset.data_root={tmp_path}/data'])  # fmt: skip


def test_a_folder_without_labels_trains_and_tests(call, tmp_path, capsys):
    root = generated.image_folder(tmp_path / 'data')
    options = [
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'train_dataloader.batch_size=3', 'num_clusters=4',
        'train_dataloader.drop_last=False', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
        *[f'{field}.dataset.data_root={root}'
          for field in ('train_dataloader', 'val_dataloader', 'test_dataloader')],
        'val_dataloader.dataset.with_label=False',
    ]  # fmt: skip
    call('train', FOLDER, '--work-dir', tmp_path / 'work', options=options)
    text = capsys.readouterr()
    assert 'No labels for 8 of 8 images' in text.out + text.err
    assert (tmp_path / 'work' / 'contact_sheet.png').is_file()


def test_new_images_are_clustered_by_the_configs_pipeline(call, tmp_path, capsys):
    root = generated.image_folder(tmp_path / 'data')
    new = tmp_path / 'new'
    generated.image_folder(new, size=32)
    options = [
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'train_dataloader.batch_size=4', 'model.queue_size=8',
        'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
        'test_dataloader.num_workers=0', 'train_cfg.max_epochs=1', 'num_clusters=4',
        *[f'{field}.dataset.data_root={root}'
          for field in ('train_dataloader', 'val_dataloader', 'test_dataloader')],
    ]  # fmt: skip
    call('train', FOLDER, '--work-dir', tmp_path / 'work', '--no-validate', options=options)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    out = tmp_path / 'clusters.csv'
    call('test', FOLDER, checkpoint, '--work-dir', tmp_path / 'work', '--data', new, '--out', out,
         options=options)  # fmt: skip
    with out.open() as file:
        images = [row['image'] for row in csv.DictReader(file)]
    assert sorted(images) == sorted(map(str, new.rglob('*.jpg')))
    assert (tmp_path / 'work' / 'test' / 'epoch_1_new' / 'contact_sheet.png').is_file()
    with pytest.raises(SystemExit, match='none does not exist'):
        call('test', FOLDER, checkpoint, '--data', tmp_path / 'none', options=options)


def test_new_images_need_a_pipeline_that_reads_files(trained, tmp_path, call):
    work_dir, _ = trained
    with pytest.raises(SystemExit, match="the config's test images are no files"):
        call('test', CONFIG, work_dir / 'epoch_2.pth', '--data', tmp_path, options=SMALL)


def test_testing_refuses_a_checkpoint_of_another_architecture(trained, tmp_path, call):
    work_dir, _ = trained
    with pytest.raises(SystemExit, match=r'another architecture: encoder\.backbone'):
        call('test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path)


def test_a_checkpoint_with_code_is_refused_until_trusted(trained, tmp_path, call, monkeypatch):
    work_dir, _ = trained
    content = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    content['message_hub']['thing'] = pytest.approx(1)  # any Python object
    path = tmp_path / 'foreign.pth'
    torch.save(content, path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '0')
    with pytest.raises(SystemExit, match='add --trust-checkpoint'):
        call('test', CONFIG, path, '--work-dir', tmp_path, options=SMALL)
    with pytest.raises(SystemExit, match='add --trust-checkpoint'):
        call('train', CONFIG, '--work-dir', tmp_path, '--resume', path, options=SMALL)
    call('test', CONFIG, path, '--work-dir', tmp_path, '--trust-checkpoint', options=SMALL)


def test_output_flags_are_checked_before_work(call, tmp_path, capsys):
    for args, message in (
        (['--out-item', 'metrics'], '--out-item needs --out'),
        (['--out', 'x.json'], 'add --out-item metrics'),
        (['--tta', '--show-dir', 'x'], 'an image has several views'),
    ):
        with pytest.raises(SystemExit):
            call('test', CONFIG, 'x.pth', *args)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_lists_mmpretrains_flags(tool):
    text = run_tool(f'tools/{tool}.py', '--help').stdout
    common = ['--work-dir', '--amp', '--no-pin-memory', '--cfg-options', '--launcher',
              '--local-rank', '--local_rank']  # fmt: skip
    own = dict(
        train=['--resume', '--no-validate', '--auto-scale-lr', '--no-persistent-workers'],
        test=['--out', '--out-item', '--show-dir', '--show', '--interval', '--wait-time', '--tta'],
    )[tool]
    for flag in common + own:
        assert flag in text


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_options_go_through_the_named_block(tool, tmp_path, call):
    args = [CONFIG] + ['none.pth'] * (tool == 'test') + ['--work-dir', tmp_path]
    with pytest.raises(SystemExit, match=r'no num_cluster to set\. Near it: num_clusters'):
        call(tool, *args, options=['num_cluster=3'])
    with pytest.raises(SystemExit, match='num_clusters must be at least 2, got 1'):
        call(tool, *args, options=['num_clusters=1'])
    with pytest.raises(SystemExit, match=r'there is no config file configs/no\.py'):
        call(tool, 'configs/no.py', *args[1:])


def test_a_folder_may_have_blanks_in_its_name(tmp_path, call):
    with pytest.raises(SystemExit, match=r'My Photos \(2019\) .*does not exist'):
        call('train', 'configs/cdc_r18_folder.py', '--work-dir', tmp_path / 'work',
             options=[f'data_root={tmp_path}/My Photos (2019)', 'num_clusters=3'])  # fmt: skip
