import os

from mmengine.logging import MMLogger

from cdc_mm.datasets import listing
from cdc_mm.datasets.listing import list_files


def test_loops_end_and_links_are_followed(tmp_path):
    root, other = tmp_path / 'root', tmp_path / 'other'
    (root / 'a' / 'b').mkdir(parents=True)
    other.mkdir()
    (root / 'a' / 'b' / 'x.jpg').touch()
    (other / 'y.jpg').touch()
    (root / 'a' / 'b' / 'up').symlink_to(root)
    (root / 'a' / 'self').symlink_to(root / 'a' / 'self')
    (root / 'link').symlink_to(other)
    (root / 'broken.jpg').symlink_to(tmp_path / 'none.jpg')
    (root / 'z.jpg').symlink_to(other / 'y.jpg')
    os.mkfifo(root / 'pipe.jpg')
    assert list_files(str(root)) == ['a/b/x.jpg', 'link/y.jpg', 'z.jpg']


def test_names_of_any_kind(tmp_path):
    for name in ('ümläut.jpg', '图.jpg', 'new\nline.jpg', ' .jpg'):
        (tmp_path / name).touch()
    with open(os.fsencode(tmp_path) + b'/\xff.jpg', 'wb'):
        pass
    names = list_files(str(tmp_path))
    assert len(names) == 5 and '图.jpg' in names and '\udcff.jpg' in names


def test_says_which_entries_could_not_be_opened(tmp_path, monkeypatch):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'x.jpg').touch()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith('b'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    warnings = []
    monkeypatch.setattr(listing.os, 'scandir', refuse)
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', warnings.append)
    assert list_files(str(tmp_path)) == ['a/x.jpg']
    assert '1 entries' in warnings[0] and f'{tmp_path}/b: Permission denied' in warnings[0]
