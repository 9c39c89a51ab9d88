"""model-index.yml and the metafiles: configs exist, and figures are those that the docs have."""

import re

import mmengine
import pytest
from helpers import ROOT

METAFILES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('metafile.yml')
)


def test_the_index_names_every_metafile():
    assert sorted(mmengine.load(ROOT / 'model-index.yml')['Import']) == METAFILES


@pytest.mark.parametrize('file', METAFILES)
def test_a_metafile_names_configs_that_exist_and_figures_that_the_docs_have(file):
    content = mmengine.load(ROOT / file)
    collections = [collection['Name'] for collection in content['Collections']]
    for collection in content['Collections']:
        assert re.match(r'https?://', collection['Paper']['URL']) and collection['Paper']['Title']
    paper = mmengine.load(ROOT / 'configs/paper.yml')
    pages = {name: (ROOT / f'docs/{name}.md').read_text() for name in ('reproduce', 'results')}
    names = [model['Name'] for model in content['Models'] or []]
    assert len(set(names)) == len(names)
    for model in content['Models'] or []:
        assert model['In Collection'] in collections
        if model.get('Config'):
            assert (ROOT / model['Config']).is_file() and model['Config'].endswith(
                f'{model["Name"]}.py'
            )
        for result in model.get('Results') or []:
            assert result['Dataset'] and result['Task'] and result['Metrics']
            figures = [max(f'{x:.1f}', str(x), key=len) for x in result['Metrics'].values()]
            if not result.get('Quoted'):
                assert all(figure in pages['results'] for figure in figures), result
            elif result['Task'] == 'Image Clustering':
                assert f'{" / ".join(figures)}' in pages['reproduce'] or (
                    len(figures) == 1 and f'ACC {figures[0]}' in pages['reproduce']
                ), (model['Name'], result)
                entry = paper.get((model.get('Config') or '').removeprefix('configs/'))
                if entry and result['Dataset'] != 'Digits':
                    for name, value in result['Metrics'].items():
                        assert entry[name.lower()][0] == value, (model['Name'], name)
            else:
                assert all(figure in pages['reproduce'] for figure in figures), result
