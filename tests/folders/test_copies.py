"""Folders of clusters: every image once, where it belongs, and nothing of others touched."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from folder_results import random_assignments

from cdc_mm.errors import RunError
from cdc_mm.folders import link_clusters
from cdc_mm.folders.copies import MARK, folder_names

PATHS = [
    'a/x.jpg',
    'b/x.jpg',
    'b/c/x.jpg',
    'B2/X.JPG',
    'x.jpg',
    'b__x.jpg',
    os.fsdecode(b'a\xff.png'),
    'a/line\nbreak.png',
]


@pytest.fixture
def root(tmp_path):
    for path in PATHS:
        (tmp_path / 'photos' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'photos' / path).write_text(path, errors='surrogateescape')
    return tmp_path / 'photos'


def images(clusters, names):
    clusters = np.array(clusters)
    return dataclasses.replace(
        random_assignments(len(PATHS), len(names)),
        paths=PATHS,
        cluster=clusters,
        second=(clusters + 1) % len(names),
        names=names,
    )


def found(folder):
    """For each folder the contents of its files, which are the paths that they came from."""
    return {
        path.name: sorted(file.read_text(errors='surrogateescape') for file in path.iterdir())
        for path in folder.iterdir()
        if path.is_dir()
    }


@pytest.mark.parametrize('how', ['link', 'copy'])
def test_every_image_is_in_the_folder_of_its_cluster(tmp_path, root, how):
    clusters = [0, 0, 0, 0, 0, 0, 1, 2]
    done = link_clusters(images(clusters, ['cats', 'dogs', 'cats']), root, tmp_path / 'out', how)
    assert done.folder == tmp_path / 'out' / 'clusters'
    assert found(done.folder) == {'cats': sorted([*PATHS[:6], PATHS[7]]), 'dogs': [PATHS[6]]}
    names = {path.name for path in (done.folder / 'cats').iterdir()}
    assert {'x.jpg', 'b__x.jpg', 'b__c__x.jpg'} <= names
    assert len({name.casefold() for name in names}) == 7
    linked = [path.is_symlink() for path in done.folder.glob('*/*')]
    assert all(linked) if how == 'link' else not any(linked)
    assert done.numbers[how] == 8
    assert all((root / path).is_file() for path in PATHS)


def test_links_are_relative_and_survive_a_move(tmp_path, root):
    link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out')
    tmp_path.joinpath('moved').mkdir()
    for name in ('photos', 'out'):
        (tmp_path / name).rename(tmp_path / 'moved' / name)
    assert found(tmp_path / 'moved' / 'out' / 'clusters') == {'a': sorted(PATHS)}


def test_a_second_call_replaces_what_the_first_wrote(tmp_path, root):
    link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out')
    (tmp_path / 'out' / 'clusters' / 'a' / 'notes.txt').write_text('mine')
    link_clusters(images([1] * 8, ['a', '']), root, tmp_path / 'out')
    assert found(tmp_path / 'out' / 'clusters') == {'a': ['mine']}
    link_clusters(images([1] * 8, ['a', 'b']), root, tmp_path / 'out')
    assert found(tmp_path / 'out' / 'clusters') == {'a': ['mine'], 'b': sorted(PATHS)}


def test_a_file_of_others_is_not_written_over(tmp_path, root):
    link_clusters(images([1] * 8, ['a', 'b']), root, tmp_path / 'out')
    (tmp_path / 'out' / 'clusters' / 'a').mkdir()
    (tmp_path / 'out' / 'clusters' / 'a' / 'x.jpg').write_text('mine')
    link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out', 'copy')
    assert found(tmp_path / 'out' / 'clusters') == {'a': sorted([*PATHS, 'mine'])}


@pytest.mark.parametrize('mark', [None, 'text', '[]', '{"files": 3}'])
def test_a_folder_that_is_not_ours_is_refused(tmp_path, root, mark):
    folder = tmp_path / 'out' / 'clusters'
    folder.mkdir(parents=True)
    (folder / 'mine.txt').touch()
    if mark is not None:
        (folder / MARK).write_text(mark)
    with pytest.raises(RunError, match='not made by this'):
        link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out')
    assert {path.name for path in folder.iterdir()} <= {'mine.txt', MARK}


def test_a_mark_that_names_files_elsewhere_removes_none(tmp_path, root):
    folder = tmp_path / 'out' / 'clusters'
    folder.mkdir(parents=True)
    others = [tmp_path / 'up.txt', tmp_path / 'out' / 'beside.txt', folder / 'a' / 'b' / 'x.txt']
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = ['../beside.txt', '../../up.txt', str(others[0]), '../..', 'a/b/x.txt', 'a/..', '..']
    (folder / MARK).write_text(json.dumps(dict(files=files)))
    link_clusters(images([0] * 8, ['c', 'd']), root, tmp_path / 'out')
    assert all(path.exists() for path in others)


@pytest.mark.parametrize('allowed', ['hard link', 'copy'])
def test_without_symbolic_links_it_says_so(tmp_path, root, monkeypatch, capsys, allowed):
    def refuse(*args, **kwargs):
        raise OSError(errno.EPERM, 'not allowed')

    monkeypatch.setattr(os, 'symlink', refuse)
    if allowed == 'copy':
        monkeypatch.setattr(os, 'link', refuse)
    done = link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out')
    assert done.numbers == {'link': 0, 'hard link': 0, 'copy': 0, allowed: 8}
    assert found(done.folder) == {'a': sorted(PATHS)}
    assert 'not allowed there' in capsys.readouterr().out


def test_paths_outside_and_missing_images_are_refused(tmp_path, root):
    for path in ('../x.jpg', 'a/../../x.jpg', str(tmp_path / 'x.jpg')):
        wrong = dataclasses.replace(images([0] * 8, ['a', 'b']), paths=[path, *PATHS[1:]])
        with pytest.raises(ValueError, match='not a path inside'):
            link_clusters(wrong, root, tmp_path / 'out')
    (root / PATHS[0]).unlink()
    with pytest.raises(RunError, match='not there any more'):
        link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out')
    with pytest.raises(ValueError, match="'link' or 'copy'"):
        link_clusters(images([0] * 8, ['a', 'b']), root, tmp_path / 'out', 'move')
    assert not (tmp_path / 'out').exists()


def test_names_of_folders_are_safe_on_every_system():
    names = ['../..', 'a/b', 'a\\b', 'CON', 'con.x', '...', ' . ', 'x' * 199, '\u65e5' * 199, '']
    names += ['Cats', 'cats', 'CATS', 'a\0b', 'a\nb', '.hidden', '\ud800', 'Stra\u00dfe', 'strasse']
    folders = folder_names(names)
    assert set(folders) == set(names) - {''}
    for folder in folders.values():
        assert Path(folder).parts == (folder,) and folder not in ('.', '..')
        assert not set(folder) & set('<>:"/\\|?*\0\n') and folder == folder.strip(' .')
        assert len(os.fsencode(folder)) <= 130
        assert not folder.lower().startswith(('con.', 'con ')) and folder.lower() != 'con'
    assert len({folder.casefold() for folder in folders.values()}) == len(folders)
    assert folder_names(['a', 'b', 'a']) == {'a': 'a', 'b': 'b'}
