import warnings

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve


def interpolated_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the interpolated precision-recall curve of one class.

    The precision at a recall is the highest at that or any higher recall, as in PASCAL VOC since
    2010 and in PCL's evaluation.

    Args:
        targets (np.ndarray): Whether each image has the class, shape (N,), 0 or 1.
        scores (np.ndarray): Score of each image, shape (N,), any scale.

    Returns:
        float: In [0, 1]; nan if no image has the class.
    """
    if not np.any(targets):
        return float('nan')
    # From recall 1 down to 0.
    precision, recall, _ = precision_recall_curve(targets, scores)
    return float(-np.sum(np.diff(recall) * np.maximum.accumulate(precision)[:-1]))


def class_average_precisions(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Interpolated average precision of each class over the images. Its mean is the class mAP.

    Args:
        targets (np.ndarray): Shape (N, C), 0 or 1.
        scores (np.ndarray): Shape (N, C).

    Returns:
        np.ndarray: Shape (C,), each in [0, 1], nan for a class that no image has.
    """
    return np.array([interpolated_average_precision(t, s) for t, s in zip(targets.T, scores.T)])


def per_image_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the images of the average precision with which each ranks the classes.

    This is what AdCo's VOC07 code reports as mAP. It asks whether an image's classes stand above
    the others, not whether a class's images do, and is much higher than the class mAP: a constant
    ranking by the frequency of the classes does well. The two must never be compared.

    Args:
        targets (np.ndarray): Shape (N, C), 0 or 1.
        scores (np.ndarray): Shape (N, C), comparable between classes.

    Returns:
        float: In [0, 1]. An image without any class counts as 0, as in scikit-learn.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='No positive class found')
        return float(average_precision_score(targets, scores, average='samples'))
