"""Checkpoints that hold code, as URL and by ``init_cfg``, through the tools."""

import pytest
import torch
from helpers import CONFIG, SMALL


class Payload:
    def __reduce__(self):
        return (exec, ('import os; os.environ["CDC_MM_PWNED"] = "1"',))


@pytest.fixture
def bad(served):
    folder, url = served
    content = dict(state_dict={}, meta=dict(epoch=1, iter=1), extra=Payload())
    torch.save(content, folder / 'bad.pth')
    torch.save(dict(state_dict=dict(other=torch.zeros(2))), folder / 'other.pth')
    return f'{url}/bad.pth', f'{url}/other.pth'


def refuse(call, message, *args, options=()):
    with pytest.raises(SystemExit, match=message) as stopped:
        call(*args, options=(*SMALL, 'train_cfg.max_epochs=1', *options))
    assert len(str(stopped.value).splitlines()) == 2  # the second names CDC_MM_TRACEBACK


def test_an_address_is_checked_as_a_file(bad, call, tmp_path):
    work = ('--work-dir', tmp_path / 'work')
    for url, message in zip(bad, ('bad.pth holds Python objects.*--trust-checkpoint', 'lacks')):
        refuse(call, message, 'test', CONFIG, url, *work)
        refuse(call, message, 'train', CONFIG, *work, options=[f'load_from={url}'])
        refuse(call, message, 'train', CONFIG, *work, '--resume', url)
    for tool in ('eval_kmeans', 'eval_knn'):
        refuse(call, '--trust-checkpoint', tool, CONFIG, bad[0], '--cache-dir', tmp_path)


def test_init_cfg_is_checked_first_and_names_the_flag(bad, call, tmp_path):
    for url, message in zip(bad, ('--trust-checkpoint', 'of init_cfg fills nothing of')):
        refuse(call, message, 'train', CONFIG, '--work-dir', tmp_path / 'work',
               options=['model.backbone.init_cfg.type=Pretrained',
                        f'model.backbone.init_cfg.checkpoint={url}'])  # fmt: skip


def test_a_run_by_address_says_file_and_hash(served, trained, call, tmp_path, capfd):
    folder, url = served
    (folder / 'x.pth').write_bytes((trained[0] / 'epoch_1.pth').read_bytes())
    call('test', CONFIG, f'{url}/x.pth', '--work-dir', tmp_path, options=SMALL)
    text = capfd.readouterr().out
    assert f'{url}/x.pth lies in' in text and 'SHA-256' in text and 'fills' in text
