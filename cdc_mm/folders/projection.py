"""Places of images on a map."""

import numpy as np

MAX_FITTED = 3000  # rows that t-SNE sees
_PCS, _PERPLEXITY, _NEIGHBORS = 50, 30, 5
# As trustworthy as after 1,000: 0.947 and 0.948 (10 neighbours; 3,000 test images of CIFAR-10,
# EfficientNet-Lite0, seed 0).
_STEPS = 500


def project_2d(rows: np.ndarray, seed: int) -> np.ndarray:
    """Put rows of features on a plane so that near ones stay near.

    PCA to 50 values, then t-SNE (van der Maaten and Hinton, 2008) of scikit-learn on at most 3,000
    rows that are drawn; each of the others comes to the mean of its 5 nearest of those, by the
    PCA. The same rows, seed, machine and number of threads give the same places. Rows of 1,280
    values took 8 s for 600 of them and 19 to 26 s for 3,000 and for 50,000, on one thread of two
    CPU cores that were busy with other work.

    Args:
        rows (np.ndarray): Shape (N, D), finite.
        seed (int): Of what is drawn.

    Returns:
        np.ndarray: Places, shape (N, 2), float32. Fewer than four rows, and equal ones, lie on a
        line.

    Raises:
        ValueError: If rows are not of that shape or not finite.
    """
    # scikit-learn takes a second to import.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f'rows must be (images, values) and finite, got {rows.shape}')
    count = len(rows)
    line = np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    drawn = np.sort(np.random.RandomState(seed).permutation(count)[:MAX_FITTED])
    if count < 4 or (rows[drawn] == rows[drawn[0]]).all():
        # Too few for t-SNE, or all the same.
        return line
    pca = PCA(min(_PCS, len(drawn), rows.shape[1]), random_state=seed).fit(rows[drawn])
    pcs = pca.transform(rows).astype(np.float32)
    if not np.ptp(pcs[drawn], axis=0).any():
        # t-SNE would divide by their variance, and crashes on what is not finite.
        return line
    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (len(drawn) - 1) / 3),
        init='pca' if pcs.shape[1] > 1 else 'random',
        max_iter=_STEPS,
        random_state=seed,
    )
    places = np.empty((count, 2), np.float32)
    places[drawn] = tsne.fit_transform(pcs[drawn])
    others = np.setdiff1d(np.arange(count), drawn)
    if len(others):
        search = NearestNeighbors(n_neighbors=_NEIGHBORS).fit(pcs[drawn])
        nearest = search.kneighbors(pcs[others], return_distance=False)
        places[others] = places[drawn][nearest].mean(axis=1)
    return places
