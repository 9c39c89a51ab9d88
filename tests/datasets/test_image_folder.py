import pytest
from mmengine.logging import MMLogger
from mmpretrain.registry import DATASETS
from PIL import Image


def build(root, **kwargs):
    return DATASETS.build(dict(type='ImageFolder', data_root=str(root), **kwargs))


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8)).save(path, format='PNG')
    return root


def entries(dataset, root):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(info['img_path'].removeprefix(f'{root}/'), info.get('gt_label')) for info in infos]


def test_class_folders_give_labels(tmp_path):
    make(tmp_path, 'dog/2.png', 'cat/young/b.JPG', 'cat/a.webp', 'dog/1.tiff')
    (tmp_path / 'cat' / 'notes.txt').write_text('no image')
    (tmp_path / 'empty').mkdir()
    dataset = build(tmp_path)
    assert entries(dataset, tmp_path) == [
        ('cat/a.webp', 0), ('cat/young/b.JPG', 0), ('dog/1.tiff', 1), ('dog/2.png', 1),
    ]  # fmt: skip
    assert dataset.CLASSES == ('cat', 'dog')


@pytest.mark.parametrize(
    'names',
    [('b.png', 'a.png'), ('only/b.png', 'only/a.png'), ('x/b.png', 'y/c.png', 'a.png')],
    ids=['flat', 'one folder', 'images beside folders'],
)
def test_other_folders_give_none(tmp_path, names):
    make(tmp_path, *names)
    dataset = build(tmp_path)
    assert entries(dataset, tmp_path) == [(name, None) for name in sorted(names)]
    assert dataset.CLASSES is None


def test_labels_can_be_refused_or_demanded(tmp_path):
    make(tmp_path, 'x/b.png', 'y/c.png')
    assert {label for _, label in entries(build(tmp_path, with_label=False), tmp_path)} == {None}
    make(tmp_path, 'one/only/c.png')
    demanded = build(tmp_path / 'one', with_label=True)
    assert entries(demanded, tmp_path) == [('one/only/c.png', 0)]
    make(tmp_path, 'loose.png')
    with pytest.raises(ValueError, match=r'1 of 4 images in .* are in no class folder'):
        build(tmp_path, with_label=True)


def test_leaves_out_hidden_files_and_folders(tmp_path):
    make(tmp_path, 'a.png', '._a.png', '.thumbs/a.png', 'deep/.trash/more/a.png', 'deep/b.png')
    assert entries(build(tmp_path), tmp_path) == [('a.png', None), ('deep/b.png', None)]


def test_a_hidden_folder_above_is_no_matter(tmp_path):
    root = make(tmp_path / '.hidden', 'a.png')
    assert entries(build(tmp_path, data_prefix='.hidden'), root) == [('a.png', None)]


def test_says_what_is_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'none does not exist or is no folder. Expected: .*none/<class>/'
    ):
        build(tmp_path / 'none')
    (tmp_path / 'a.txt').write_text('no image')
    with pytest.raises(FileNotFoundError, match=r'holds no images. .* being .bmp .gif .jpeg .jpg'):
        build(tmp_path)


def test_says_that_the_folder_is_not_split(tmp_path):
    make(tmp_path, 'a.png', 'b.png')
    message = r'itself holds 2 images: .* train_prefix= test_prefix='
    with pytest.raises(FileNotFoundError, match=message):
        build(tmp_path, data_prefix='train')


def test_a_list_with_or_without_labels(tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('b 1.png 2\na.jpg 0\n')
    assert entries(build(tmp_path, ann_file=str(listed)), tmp_path) == [
        ('b 1.png', 2), ('a.jpg', 0),
    ]  # fmt: skip
    listed.write_text('b 1.png\na.JPG\n')
    assert entries(build(tmp_path, ann_file=str(listed)), tmp_path) == [
        ('b 1.png', None), ('a.JPG', None),
    ]  # fmt: skip


def test_labels_of_a_list_can_be_left_unread(tmp_path):
    (tmp_path / 'list.txt').write_text('b 1.png 2\na.jpg 0\n')
    dataset = build(tmp_path, ann_file=str(tmp_path / 'list.txt'), with_label=False)
    assert entries(dataset, tmp_path) == [('b 1.png', None), ('a.jpg', None)]


@pytest.mark.parametrize(
    ('text', 'with_label', 'message'),
    [
        (
            'a.png 1\nb.png',
            None,
            "list.txt has the line 'b.png'. Expected.*PATH LABEL",
        ),
        ('a.png 1\nb.png', False, "the line 'b.png'.*PATH LABEL"),
        ('a.png', True, "the line 'a.png'.*PATH LABEL"),
        ('a.png\nb.txt', None, "the line 'b.txt'.*PATH of an image"),
        ('', None, "the line ''"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, with_label, message):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        build(tmp_path, ann_file=str(tmp_path / 'list.txt'), with_label=with_label)


@pytest.mark.parametrize(
    'name', ['../x.jpg', '/etc/x.jpg', 'a/../../x.jpg', r'..\x.jpg', 'http://x/x.jpg']
)
@pytest.mark.parametrize('label', ['', ' 1'])
def test_a_list_stays_in_its_folder(tmp_path, name, label):
    (tmp_path / 'list.txt').write_text(f'a/x.jpg{label}\n{name}{label}\n')
    with pytest.raises(ValueError, match=r'list\.txt names .*x\.jpg, which lies outside'):
        DATASETS.build(dict(type='ImageFolder', data_root=str(tmp_path), ann_file='list.txt'))


def test_gif_is_an_image_and_what_is_left_out_is_counted(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, line, *args, **kwargs: lines.append(line))
    for name in ('a.gif', 'b.jpg', 'c.HEIC', 'd.heic', 'README', '.hidden'):
        (tmp_path / name).touch()
    data = DATASETS.build(dict(type='ImageFolder', data_root=str(tmp_path)))
    assert len(data) == 2
    assert lines[0].endswith('; left out by their suffix: 2 .heic, 1 no suffix')
