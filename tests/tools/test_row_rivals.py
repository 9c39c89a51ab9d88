"""The rivals on rows: their metafiles, and what is told before their training."""

import importlib
import inspect

import generated
import mmengine
import pytest
from helpers import ROOT

METHODS = ('dec', 'idec', 'kmeans', 'scan', 'spectral', 'temi', 'turtle')


@pytest.fixture(scope='module')
def small_folder(tmp_path_factory):
    """Eight images."""
    return generated.image_folder(tmp_path_factory.mktemp('images') / 'all')


@pytest.mark.parametrize('method', METHODS)
def test_metafiles_name_what_there_is(method):
    folder = ROOT / 'configs/baselines' / method
    content = mmengine.load(folder / 'metafile.yml')
    (collection,) = content['Collections']
    named = {model['Config'] for model in content['Models'] if 'Config' in model}
    assert named == {str(path.relative_to(ROOT)) for path in folder.glob('*.py')}
    assert {model['In Collection'] for model in content['Models']} == {collection['Name']}
    assert collection['Paper']['Title'] and collection['Paper']['URL'].startswith('https://')
    # What is not measured says so.
    results = [result for model in content['Models'] for result in model.get('Results', [])]
    assert all(result['Quoted'] is True for result in results)
    if not named:
        estimator = getattr(
            importlib.import_module('sklearn.cluster'), collection['Metadata']['Estimator']
        )
        parameters = inspect.signature(estimator).parameters
        assert collection['Metadata']['Parameters'].keys() <= parameters.keys()


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        ('scan/scan_digits', ['pretrained=none.pth'], r'none\.pth'),
        ('temi/temi_digits', [], r'mocov2_digits/epoch_160\.pth'),
        ('scan/scan_digits_selflabel', [], r'scan_digits/epoch_100\.pth'),
        ('turtle/turtle_lite0_rows', ['data_root=none'], 'none'),
        ('temi/temi_lite0_rows', ['data_root=DATA', 'num_neighbors=16'], 'num_neighbors=16'),
        ('dec/dec_digits', ['epochs=1'], 'none is left to cluster: raise epochs'),
        ('dec/dec_digits', ['model.in_channels=None'], 'DEC needs in_channels'),
        (
            'turtle/turtle_lite0_rows',
            ['data_root=DATA', 'train_dataloader.dataset.views=None'],
            'TURTLE needs the views view1',
        ),
    ],
)
def test_mistakes_are_told_in_one_line_before_training(
    tmp_path, call, small_folder, config, options, message, capfd
):
    options = [option.replace('DATA', str(small_folder)) for option in options]
    stores = [] if 'lite0' not in config else [f'store_dir={tmp_path}/store', 'num_workers=0']
    with pytest.raises(SystemExit, match=message) as stopped:
        call(
            'train', f'configs/baselines/{config}.py', '--work-dir', tmp_path / 'work',
            options=(*options, *stores),
        )  # fmt: skip
    text = str(stopped.value).splitlines()
    assert text[0].startswith('error: ') and len(text) <= 2
    assert 'epoch 1' not in capfd.readouterr().out and not list(tmp_path.rglob('*.pth'))
