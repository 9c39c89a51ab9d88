import os
import re
from collections import Counter
from typing import Iterable, List, Optional, Sequence, Tuple, Union

from mmengine.logging import MMLogger
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from .listing import check_below, list_files, read_lines

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.gif')


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """All images below a folder, at any depth, with or without class folders.

    mmpretrain's ``CustomDataset`` must be told whether there are labels; this one looks. It leaves
    out hidden files and folders and sorts by path. ``ann_file`` names a list to use instead, of
    lines ``PATH`` or ``PATH LABEL``, with paths below ``data_prefix``.

    Args:
        data_root (str): The folder, or what ``data_prefix`` is relative to.
        data_prefix (str): The folder below ``data_root``. Defaults to ''.
        with_label (bool, optional): Whether the first level of folders gives the labels. Defaults
            to None: it does if every image lies in a folder and there are at least two. Of a list,
            whether its labels are read; None reads what there is.
        extensions (Sequence[str]): Suffixes of images, in lower case.
        **kwargs: Other keyword arguments of mmpretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: If there is no such folder or no image in it.
        ValueError: If ``with_label=True`` and there are images beside the class folders, or if the
            list has none, other lines, or paths that lead out of the folder.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str = '',
        with_label: Optional[bool] = None,
        extensions: Sequence[str] = SUFFIXES,
        **kwargs,
    ) -> None:
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> List[dict]:
        """Path, and label if there is one, of every image."""
        if not self.ann_file:
            return super().load_data_list()
        lines = [line.strip() for line in read_lines(str(self.ann_file))]
        labelled = [re.fullmatch(r'(.+) (\d+)', line) for line in lines]
        if self.with_label is None:
            self.with_label = any(labelled)
        # Labels that are there may be left unread, but not the other way round.
        bare = not (self.with_label or any(labelled))
        for line, match in zip(lines or [''], labelled or [None], strict=True):
            if not (line.lower().endswith(self.extensions) if bare else match):
                raise ValueError(
                    f'{self.ann_file} has the line {line!r}. Expected in every line: '
                    + ('PATH of an image' if bare else 'PATH LABEL, with a number for the label')
                )
        names = [match[1] if match else line for line, match in zip(lines, labelled, strict=True)]
        check_below(names, str(self.ann_file))
        return [
            dict(img_path=os.path.join(self.img_prefix, name))
            | (dict(gt_label=int(match[2])) if self.with_label else {})
            for name, match in zip(names, labelled, strict=True)
        ]

    def _find_samples(self) -> List[Union[str, Tuple[str, int]]]:
        root = self.img_prefix.rstrip('/')
        exists = os.path.isdir(root)
        files = list_files(root) if exists else []
        paths = list(filter(self.is_valid_file, files))
        if not paths:
            reason = 'holds no images' if exists else 'does not exist or is no folder'
            reason += self._unsplit()
            raise FileNotFoundError(
                f'{root} {reason}. Expected: {root}/**/<image> or, with labels for evaluation, '
                f'{root}/<class>/**/<image>, images being {" ".join(sorted(self.extensions))}. Put '
                'your images there or point data_root to where they are.'
            )
        tops = [path.split(os.sep, 1)[0] if os.sep in path else None for path in paths]
        loose, classes = tops.count(None), sorted({top for top in tops if top})
        if self.with_label is None:
            self.with_label = not loose and len(classes) > 1
        elif self.with_label and loose:
            raise ValueError(
                f'with_label=True, but {loose} of {len(paths)} images in {root} are in no class '
                'folder.'
            )
        MMLogger.get_current_instance().info(
            f'{root}: {len(paths)} images'
            + (f' in {len(classes)} class folders' if self.with_label else ', no labels read')
            + _left_out(
                [path for path in files if not self.is_valid_file(path) and not _is_hidden(path)]
            )
        )
        if not self.with_label:
            return paths
        self._metainfo['classes'] = tuple(classes)
        label_of = {name: label for label, name in enumerate(classes)}
        return [(path, label_of[top]) for path, top in zip(paths, tops)]

    def _unsplit(self) -> str:
        """What to do where the images lie in ``data_root`` and not in the folder below it."""
        root = self.data_root.rstrip('/')
        if not root or not os.path.isdir(root) or root == self.img_prefix.rstrip('/'):
            return ''
        count = sum(map(self.is_valid_file, list_files(root)))
        if not count:
            return ''
        return (
            f', but {root} itself holds {count} images: to take all of them, leave out the folders '
            'below it, --cfg-options train_prefix= test_prefix= in a config that has these names'
        )

    def is_valid_file(self, filename: str) -> bool:
        """Whether a path, relative to the folder, is an image and nothing of it is hidden."""
        return not _is_hidden(filename) and super().is_valid_file(filename)


def list_images(root: str) -> List[str]:
    """Paths of the images that an :class:`ImageFolder` finds below a folder, relative and sorted.

    Args:
        root (str): An existing folder.
    """
    return [
        path
        for path in list_files(root)
        if not _is_hidden(path) and path.lower().endswith(SUFFIXES)
    ]


def _is_hidden(path: str) -> bool:
    return any(part.startswith('.') for part in path.split(os.sep))


def _left_out(paths: Iterable[str]) -> str:
    kinds = Counter(
        os.path.splitext(path)[1].lower() or 'no suffix' for path in paths if not _is_hidden(path)
    )
    if not kinds:
        return ''
    named = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(4))
    more = ', ...' if len(kinds) > 4 else ''
    return f'; left out by their suffix: {named}{more}'
