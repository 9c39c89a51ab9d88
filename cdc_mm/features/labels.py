from typing import NamedTuple, Optional

import numpy as np


class LabelledRows(NamedTuple):
    """Which images of a split have a label.

    Attributes:
        index (np.ndarray, optional): Their numbers, shape (M,); None if it is all of them.
        labels (np.ndarray): Their labels, shape (M,), int64.
    """

    index: Optional[np.ndarray]
    labels: np.ndarray

    def select(self, rows: np.ndarray) -> np.ndarray:
        """Rows (M, D) of the images with a label among the rows (N, D) of all."""
        return rows if self.index is None else rows[self.index]


def labelled_rows(labels: list, name: str, at_least: int = 1) -> LabelledRows:
    """Find the images that have a label, for evaluation.

    Args:
        labels (list): A class number for each image, None or a negative one without a label.
        name (str): What the images are, for the message.
        at_least (int): How many labelled images are needed. Defaults to 1.

    Returns:
        LabelledRows: Their numbers and labels.

    Raises:
        ValueError: If there are fewer, or the images have several labels each.
    """
    if any(isinstance(label, (list, tuple)) for label in labels):
        raise ValueError(f'the {name} images have several labels each; this needs one')
    numbers = np.array([-1 if label is None else int(label) for label in labels])
    index = np.flatnonzero(numbers >= 0)
    if len(index) < at_least:
        raise ValueError(
            f'{len(index)} of the {len(labels)} {name} images have a label, and {at_least} are '
            'needed: this compares with labels, and uses no more images as neighbours than there '
            'are.'
        )
    return LabelledRows(None if len(index) == len(labels) else index, numbers[index])


def multi_hot(labels: list, num_classes: int, name: str) -> np.ndarray:
    """Labels of multi-label images as a table.

    Args:
        labels (list): The class numbers of each image, a list each.
        num_classes (int): C.
        name (str): What the images are, for the message.

    Returns:
        np.ndarray: Shape (N, C), int64, 0 or 1.

    Raises:
        ValueError: If an image has a single number or nothing for a label.
    """
    if not all(isinstance(label, (list, tuple)) for label in labels):
        raise ValueError(
            f'the {name} data is not multi-label: use a config whose data set is VOC07, as '
            'configs/linear/linear_r50_voc07_svm.py'
        )
    table = np.zeros((len(labels), num_classes), dtype=np.int64)
    for row, label in zip(table, labels):
        row[list(label)] = 1
    return table
