import numpy as np
from sklearn.svm import LinearSVC


def svm_scores(
    train_rows: np.ndarray, train_targets: np.ndarray, test_rows: np.ndarray, cost: float = 0.5
) -> np.ndarray:
    """Scores of one linear SVM for each class, with PCL's settings.

    Rows are divided by their length + 1e-5; the positives weigh twice as much as the negatives.

    Args:
        train_rows (np.ndarray): Features, shape (N, D).
        train_targets (np.ndarray): Shape (N, C), 0 or 1.
        test_rows (np.ndarray): Features, shape (M, D).
        cost (float): C of the SVM. Defaults to 0.5, PCL's.

    Returns:
        np.ndarray: Decision values, shape (M, C). A class that all or none of the training images
        have cannot be learnt and gets 1 or -1 everywhere.
    """
    train_rows, test_rows = _scale(train_rows), _scale(test_rows)
    scores = np.empty((len(test_rows), train_targets.shape[1]))
    for c, target in enumerate(train_targets.T):
        signs = np.where(target > 0, 1, -1)
        if np.all(signs == signs[0]):
            scores[:, c] = signs[0]
            continue
        svm = LinearSVC(
            C=cost, class_weight={1: 2, -1: 1}, dual=True, max_iter=2000, random_state=0
        )
        scores[:, c] = svm.fit(train_rows, signs).decision_function(test_rows)
    return scores


def low_shot_rows(targets: np.ndarray, k: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw k images for each class, as PCL does.

    Args:
        targets (np.ndarray): Shape (N, C), 0 or 1.
        k (int): Images of each class, at least 1; a class that has fewer gives all.
        rng (np.random.RandomState): Where the draws come from.

    Returns:
        np.ndarray: Numbers of the images. All classes train on them together, and an image drawn
        for two classes is there twice.
    """
    return np.concatenate([rng.permutation(np.flatnonzero(target))[:k] for target in targets.T])


def _scale(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)
