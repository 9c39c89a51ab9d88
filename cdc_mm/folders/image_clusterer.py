import io
import json
import os
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.utils.data import Dataset

from cdc_mm import console
from cdc_mm.atomic import write_atomically
from cdc_mm.checkpoints import cache_root, check_weights, read_checkpoint, read_state_dict
from cdc_mm.datasets.decoding import FORMATS
from cdc_mm.datasets.seeding import unchanged_random
from cdc_mm.engine import build_runner, prepare_training, read_config
from cdc_mm.engine.console_runner import show_warnings_only, warnings_only
from cdc_mm.evaluation.functional import (
    NumClusters,
    agreement,
    choose_num_clusters,
    cluster_stability,
    count_distinct,
    linear_consistency,
    silhouette,
)
from cdc_mm.features import EncoderRows, Rows, encoder_settings, other_neighbors, told_once
from cdc_mm.models.utils import neighbors_within_clusters
from cdc_mm.shipped import find_shipped
from cdc_mm.version import __version__
from cdc_mm.wrappers import unwrap_model

from .encoders import DEFAULT_ENCODER, NamedEncoder, find_encoder
from .finetuning import finetune
from .inner_runs import LossCurves, without_traces
from .saved import plain_config, read_json
from .similar import compare_with_nearest
from .sources import Pictures, as_folder, as_list, as_pictures, encode_pictures

RECIPE = 'configs/folder/scan_lite0.py'
_UNBALANCED = 'configs/folder/communities_lite0.py'
_ROWS = 4096  # that pass the heads at once
_SMALL, _LARGE = 192, 224  # sizes that images are seen at
_LEAST, _MOST, _STEPS = 10, 250, 250  # epochs at least and at most; steps that are enough
_K_RANGE = (2, 30)
_MOST_COMPARED = 100_000  # images that are assigned: each with each takes time by the square
_LESS_SIMPLE = 5.0  # points of linear consistency that a network which learned may cost
_NEAREST = 4  # neighbours of an image that it is compared with
_FLOATS = (np.float64, np.float32)  # of rows that are given
_FORMAT = 'cdc_mm clusterer 1'
_ONE_AT_A_TIME = threading.RLock()


class ImageClusterer(TransformerMixin, ClusterMixin, BaseEstimator):
    """Clusters images without labels, in the manner of scikit-learn.

    A pretrained network turns each image into a row of features, once; several heads learn clusters
    of the rows, in which an image and its nearest neighbours belong together, and those of least
    loss predict together (``configs/folder/scan_lite0.py``). Rows of features from elsewhere do as
    well as images.

    Args:
        n_clusters (int | str): K, at least 2; or ``auto``, 2 to 30 by
            :func:`~cdc_mm.evaluation.functional.choose_num_clusters`. Defaults to 8.
        encoder (str): The network, see :data:`~cdc_mm.folders.ENCODERS`. Defaults to ``lite2``.
        weights (str, optional): A file that fills the network.
        image_size (int, optional): Height and width that the network sees. Defaults to 192 for
            images whose shorter side is at most 192 pixels in the median, else to 224.
        balanced (bool): Whether kinds of images are about equally many. False is for a folder where
            they differ much in number (``configs/folder/communities_lite0.py``), without
            ``finetune_epochs``. Defaults to True.
        epochs (int, optional): Of the heads. Defaults to what gives some 250 steps.
        finetune_epochs (int): Epochs in which the network learns, too, by CDC
            (``configs/folder/cdc_finetune.py``), on a folder, whose images are then clustered anew
            by the network halfway between the two. That is taken unless a linear classifier finds
            these clusters far worse (by 5 points) than those before, by the rows of both networks,
            in the mean. Defaults to 0.
        random_state (int | RandomState, optional): Seed of all that is drawn. Defaults to 0: the
            same clusters each time on the same machine with the same number of threads.
        store_dir (str, optional): Where rows of folders are kept, so that they are computed once.
            Defaults to ``cdc_mm/features`` in the user's cache.
        num_workers (int): Processes that read images of folders. Defaults to 2.
        verbose (bool): Whether to show progress. Defaults to False.

    Attributes:
        labels_ (np.ndarray): Cluster of each image, (N,).
        finetuned_ (bool): Whether a network that learned, too, was taken.
        probabilities_ (np.ndarray): Of each image and cluster, (N, K), float32.
        paths_ (list): Paths of the images of a folder (relative to it) or list; else numbers.
            Images of a folder that cannot be read are left out.
        n_clusters_ (int): K.
        num_clusters_ (NumClusters | None): What ``auto`` found.
        cluster_centers_ (np.ndarray): Mean of each cluster in the space of the heads, (K, C); NaN
            for an empty one.
        stability_ (np.ndarray): Share of the heads that agree with each image's cluster, (N,).
        sureness_ (dict): How sure the clusters are, without labels: ``linear_cv``, ``silhouette``,
            ``head_agreement`` and ``cluster_stability`` (K,).
        curves_ (dict): Losses by epoch.
        distances_ (np.ndarray): Of each image to the centre of its cluster, (N,).
        points_ (np.ndarray): The rows as the heads see them, (N, C).
        nearest_similarity_ (np.ndarray): Cosine of each image and the nearest other, (N,); NaN
            where :meth:`assign` was given more than 100,000.
        near_pairs_ (np.ndarray): Numbers of images whose rows hardly differ (a cosine above 0.95),
            of each with its nearest four, (P, 2).
        duplicate_of_ (np.ndarray): Index of the first image with the same row, or -1, (N,).
        model_ (nn.Module): The clusterer, with the encoder if it was given images.

    Examples:
        >>> clusterer = ImageClusterer(n_clusters=12).fit('photos')
        >>> dict(zip(clusterer.paths_, clusterer.labels_))
        >>> clusterer.predict(['new/one.jpg'])
    """

    def __init__(
        self,
        n_clusters: Union[int, str] = 8,
        *,
        encoder: str = DEFAULT_ENCODER,
        weights: Optional[str] = None,
        image_size: Optional[int] = None,
        balanced: bool = True,
        epochs: Optional[int] = None,
        finetune_epochs: int = 0,
        random_state: Any = 0,
        store_dir: Optional[str] = None,
        num_workers: int = 2,
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoder = encoder
        self.weights = weights
        self.image_size = image_size
        self.balanced = balanced
        self.epochs = epochs
        self.finetune_epochs = finetune_epochs
        self.random_state = random_state
        self.store_dir = store_dir
        self.num_workers = num_workers
        self.verbose = verbose

    # scikit-learn's methods.

    def fit(self, X: Any, y: Any = None) -> 'ImageClusterer':  # noqa: N803
        """Cluster images.

        Args:
            X (str | Path | Sequence | np.ndarray): A folder of images, at any depth; a list of
                paths, PIL images or arrays; an array of images (N, H, W) or (N, H, W, 3), uint8; or
                rows of features (N, D).
            y (Any): Ignored.

        Raises:
            FileNotFoundError: If there is no such folder, or no image in it.
            RunError: If an image of a list cannot be read.
            ValueError: If there are fewer images than clusters, or a parameter is out of range.
        """
        self._check_parameters()
        X = as_list(X)  # noqa: N806
        if self.finetune_epochs and as_folder(X) is None:
            raise ValueError('finetune_epochs needs a folder of images')
        with self._showing(), unchanged_random(), torch.random.fork_rng():
            rows, dataset = self._training_rows(X)
            self._fit(rows, dataset)
            if self.finetune_epochs:
                self._finetune(rows, as_folder(X))
        return self

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Cluster images; the cluster of each, (N,)."""
        return self.fit(X, y).labels_

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The clusters of images or rows, see :meth:`fit`, (N,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities of the clusters for images or rows, see :meth:`fit`, (N, K), float32."""
        check_is_fitted(self)
        return self._outputs(self.encode(X)).probabilities

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Distances of images or rows, see :meth:`fit`, to the centres of the clusters, (N, K).

        Euclidean, in the space of the heads; infinite to an empty cluster.
        """
        check_is_fitted(self)
        rows = self.encode(X)
        return self._distances(self._outputs(rows).points).astype(rows.dtype)

    def encode(self, X: Any) -> np.ndarray:  # noqa: N803
        """Rows of features of images, (N, D); rows are checked and given back."""
        check_is_fitted(self)
        X = as_list(X)  # noqa: N806
        with self._showing():
            folder, pictures = as_folder(X), as_pictures(X)
            if folder is None and pictures is None:
                rows = validate_data(self, X, reset=False, dtype=_FLOATS)
                if self.model_.encoder is not None and rows.shape[1] != self.feat_dim_:
                    raise ValueError(f'X has rows of {rows.shape[1]}, the model {self.feat_dim_}')
                return rows
            if self.model_.encoder is None:
                raise ValueError('this model was given rows of features: it knows no images')
            if folder is not None:
                return np.asarray(self._open_folder(folder, self.model_.encoder).rows[:])
            return self._encode(pictures, self.model_.encoder)

    # Files.

    def report(self, path: Union[str, Path], title: str = 'Clusters of images') -> None:
        """Write a page of the clusters, one HTML file that needs nothing else.

        Raises:
            RunError: If it cannot be written.
            ValueError: If the model was loaded: the page shows the images that it was fitted to.
        """
        from .results import assignments_of, write_page

        check_is_fitted(self)
        if not hasattr(self, 'points_'):
            raise ValueError('a loaded model has no images to report: fit it')
        write_page(self, path, assignments_of(self), title)

    def save(self, folder: Union[str, Path]) -> None:
        """Write what :meth:`load` needs to predict: ``config.json``, ``model.pth``, two more.

        ``tools/test.py config.json model.pth`` takes config and checkpoint of one that was given
        images.

        Raises:
            RunError: If the folder cannot be written to.
        """
        check_is_fitted(self)
        folder = Path(folder)
        arrays = dict(labels=self.labels_, centers=self.cluster_centers_)
        about = dict(
            format=_FORMAT,
            version=__version__,
            encoder=self.encoder_note_,
            n_clusters=self.n_clusters_,
            image_size=self.image_size_,
            feat_dim=self.feat_dim_,
            parameters={k: _plain(v) for k, v in self.get_params().items() if _is_plain(v)},
        )
        # Data, not a Python file: what is loaded runs no code of whoever made it.
        write_atomically(folder / 'config.json', json.dumps(self.config_.to_dict(), indent=1))
        state = {name: value.cpu() for name, value in self.model_.state_dict().items()}
        _save(folder / 'model.pth', dict(state_dict=state, meta={}))
        _save(
            folder / 'clusters.pth',
            {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()},
        )
        # Last, as load looks for it.
        write_atomically(folder / 'clusterer.json', json.dumps(about, indent=1))

    @classmethod
    def load(cls, folder: Union[str, Path], verbose: bool = False) -> 'ImageClusterer':
        """Read what :meth:`save` has written; no code of it is run.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it holds something else, or is damaged.
        """
        folder = Path(folder)
        about_file = folder / 'clusterer.json'
        if not about_file.is_file():
            raise FileNotFoundError(f'{folder} holds no model: no clusterer.json is in it')
        about = read_json(about_file)
        if about.get('format') != _FORMAT:
            raise ValueError(f'{about_file} is of another version, or not of cdc_mm')
        config = read_json(folder / 'config.json')
        state = read_state_dict(str(folder / 'model.pth'))
        arrays = read_checkpoint(str(folder / 'clusters.pth'))
        try:
            own = cls(**{**about['parameters'], 'verbose': verbose})
            own.encoder_note_, own.image_size_ = about['encoder'], about['image_size']
            own.n_clusters_, own.feat_dim_ = about['n_clusters'], about['feat_dim']
            own.n_features_in_ = own.feat_dim_
            own.labels_ = arrays['labels'].numpy()
            own.cluster_centers_ = arrays['centers'].numpy()
            own._check_parameters()
            if not isinstance(own.image_size_, (int, type(None))):
                raise ValueError(f'it sees images at {own.image_size_!r} pixels')
            own.config_ = Config(config)
            init_default_scope('mmpretrain')
            with own._showing():
                parts = dict(config['model'], data_preprocessor=config['data_preprocessor'])
                model = MODELS.build(plain_config(parts))
                check_weights(model, state, str(folder / 'model.pth'), 'resume')
                model.load_state_dict(state)
                width = model.standardize(torch.zeros(1, own.feat_dim_)).shape[1]
            if own.cluster_centers_.shape != (model.num_clusters, width):
                raise ValueError(f'it has centres of shape {own.cluster_centers_.shape}')
            if own.n_clusters_ != model.num_clusters:
                raise ValueError(f'it is said to have {own.n_clusters_} clusters')
        except KeyError as error:
            raise ValueError(f'the model in {folder} is damaged: it lacks {error}') from error
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f'the model in {folder} is damaged: {error}') from error
        own.model_ = model.to(get_device()).eval()
        return own

    # What a tool asks before and after.

    @property
    def named_encoder(self) -> NamedEncoder:
        """The network that will be taken."""
        return find_encoder(self.encoder, self.weights)

    def open_images(self, folder: Union[str, Path]) -> 'OpenedImages':
        """Images of a folder, the encoder for them, and how many have no row yet."""
        named = self.named_encoder
        self.encoder_config_ = named.config
        self.image_size_ = self.image_size or named.image_size
        init_default_scope('mmpretrain')
        with self._showing():
            encoder = MODELS.build(deepcopy(named.config))
            encoder.init_weights()
            cfg = self._folder_cfg(Path(folder))
            extract = EncoderRows(encoder, cfg['store_dir'], encoder_settings(named.config))
            images = extract.open(cfg['dataset'])
        missing = len(extract.find_store(images).missing(images.images.ids))
        return OpenedImages(images.dataset, encoder, missing)

    def steps(self, num_images: int) -> int:
        """How many steps the heads will be trained."""
        batch, epochs = self._schedule(num_images)
        return epochs * -(-num_images // batch)

    def trial_model(self, num_images: int) -> Tuple[nn.Module, int]:
        """A model as it will be trained, on rows, and its batch size."""
        own = clone(self)
        own.n_clusters_ = _K_RANGE[1] if self.n_clusters == 'auto' else self.n_clusters
        own.feat_dim_ = self.feat_dim_
        own.encoder_config_ = own.image_size_ = None
        cfg = own._recipe(dict(type='RowFile', path=''), num_images, 0)
        init_default_scope('mmpretrain')
        model = MODELS.build(cfg.model)
        model.standardize.fitted.fill_(True)
        return model, cfg.train_dataloader.batch_size

    def assign(self, folder: Union[str, Path]) -> 'ImageClusterer':
        """Assign the images of a folder without training; sets what :meth:`fit` sets of them.

        Raises:
            FileNotFoundError: If there is no such folder, or no image in it.
            ValueError: If the model was given rows of features.
        """
        check_is_fitted(self)
        if self.model_.encoder is None:
            raise ValueError('this model was given rows of features: it knows no images')
        folder = as_folder(folder)
        with self._showing():
            dataset = self._open_folder(folder, self.model_.encoder)
            self._name_images(dataset, folder)
            count = len(dataset)
            nearest = np.zeros((count, 0), np.int64)
            if 1 < count <= _MOST_COMPARED:
                most = min(_NEAREST, count - 1)
                nearest = other_neighbors(dataset.rows, most, get_device(), 0, count)
            centers = self.cluster_centers_
            self.curves_, self.num_clusters_ = {}, None
            self._describe(dataset.rows, nearest, centers)
        return self

    # How it is done.

    def _check_parameters(self) -> None:
        k = self.n_clusters
        if k != 'auto' and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 2):
            raise ValueError(f"n_clusters must be a whole number from 2, or 'auto', got {k!r}")
        for name, least in (('image_size', 16), ('epochs', 1), ('finetune_epochs', 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, (int, np.integer)) or value < least):
                raise ValueError(f'{name} must be at least {least}, got {value!r}')
        if self.finetune_epochs and not self.balanced:
            raise ValueError(
                'the network learns by CDC, whose clusters are of equal size: leave out '
                'finetune_epochs, or balanced=False'
            )

    @contextmanager
    def _showing(self) -> Iterator[None]:
        # mmengine's logger, the console and random numbers are those of the whole process.
        with _ONE_AT_A_TIME, console.quiet(not self.verbose), warnings_only(), told_once():
            yield

    def _training_rows(self, X: Any):  # noqa: N803
        """Rows (N, D) of what is given, and the config of a data set of them, None for an array."""
        self.encoder_config_ = self.encoder_note_ = self.image_size_ = self.items_ = None
        folder, pictures = as_folder(X), as_pictures(X)
        if folder is None and pictures is None:
            rows = validate_data(self, X, dtype=_FLOATS, ensure_min_samples=2)
            self.paths_ = [str(i) for i in range(len(rows))]
            return rows, None
        named = self.named_encoder
        self.encoder_config_, self.encoder_note_ = named.config, named.note
        self.image_size_ = int(self.image_size or named.image_size or 0) or None
        if folder is not None:
            if self.image_size_ is None:
                self.image_size_ = size_for(_short_edge_of_folder(folder))
            dataset = self._open_folder(folder)
            self._name_images(dataset, folder)
            self.n_features_in_ = dataset.feat_dim
            return dataset.rows, self._folder_cfg(folder)
        if self.image_size_ is None:
            edges = [min(pictures.open(i).size) for i in _spread(len(pictures.items), 50)]
            self.image_size_ = size_for(int(np.median(edges)))
        self.paths_, self.items_ = pictures.names, pictures.items
        encoder = MODELS.build(deepcopy(self.encoder_config_))
        encoder.init_weights()
        rows = self._encode(pictures, encoder)
        self.n_features_in_ = rows.shape[1]
        return rows, None

    def _name_images(self, dataset: Dataset, folder: Path) -> None:
        self.items_ = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
        self.paths_ = [os.path.relpath(item, folder) for item in self.items_]

    def _fit(self, rows: Union[np.ndarray, Rows], dataset: Optional[dict]) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if isinstance(self.random_state, (int, np.integer)):
            seed = int(self.random_state)
        self.feat_dim_ = rows.shape[1]
        self.num_clusters_, self.finetuned_ = None, False
        if self.n_clusters == 'auto':
            self.num_clusters_ = self._choose(rows, seed)
        best = self.n_clusters if self.num_clusters_ is None else self.num_clusters_.best
        self.n_clusters_ = int(best)
        _check_distinct(rows, self.n_clusters_)
        self._train(rows, dataset, seed)

    def _train(self, rows: Union[np.ndarray, Rows], dataset: Optional[dict], seed: int) -> None:
        """Train heads on rows and describe what they find."""
        with ExitStack() as stack:
            work_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix='cdc_mm'))
            if dataset is None:
                np.save(Path(work_dir) / 'rows.npy', np.asarray(rows, np.float32))
                dataset = dict(type='RowFile', path=str(Path(work_dir) / 'rows.npy'))
            self.config_ = self._recipe(dataset, len(rows), seed)
            cfg = deepcopy(self.config_)
            cfg.work_dir = work_dir
            cfg.experiment_name = Path(work_dir).name  # two runs may start in the same second
            stack.enter_context(without_traces())
            runner = build_runner(cfg)
            # Of a run whose log goes with it, progress and warnings are enough.
            show_warnings_only(runner)
            prepare_training(runner)
            losses = LossCurves()
            runner.register_hook(losses, priority='LOWEST')
            runner.train()
            self.model_ = unwrap_model(runner.model).eval()
            self.curves_ = losses.by_epoch
            nearest = runner.train_dataloader.dataset.neighbors[:, :_NEAREST]
        self._describe(rows, nearest)

    def _finetune(self, rows: Union[np.ndarray, Rows], folder: Path) -> None:
        """Let the network learn, too, and take it unless its clusters are far less simple."""
        frozen, seed = dict(vars(self)), self.config_.randomness.seed
        with tempfile.TemporaryDirectory(prefix='cdc_mm') as work_dir, without_traces():
            losses = LossCurves()
            encoder = finetune(
                self.model_.encoder, self.encoder_config_, np.asarray(rows), self.labels_,
                self.n_clusters_, folder, self.items_, int(self.finetune_epochs),
                self.image_size_, seed, self.num_workers, Path(work_dir), losses,
            )  # fmt: skip
            # Not into the user's store: each training would leave one there.
            cfg = dict(self._folder_cfg(folder), store_dir=work_dir, encoder=encoder)
            new = np.asarray(DATASETS.build(cfg).rows)
        if count_distinct(new, self.n_clusters_) < self.n_clusters_:
            console.say('the trained network is not taken: it sees too few differences')
            return
        self._train(new, None, seed)
        self.config_ = frozen['config_']  # the data set is still the folder
        # Both by the rows of both networks: each clustering is simpler in those that it is of.
        before = (frozen['sureness_']['linear_cv'] + self._linear(new, frozen['labels_'])) / 2
        after = (self._linear(rows, self.labels_) + self.sureness_['linear_cv']) / 2
        taken = after >= before - _LESS_SIMPLE
        console.say(
            f'the trained network is {"taken" if taken else "not taken"}: linear consistency '
            f'{after:.1f} % after, {before:.1f} % before'
        )
        if not taken:
            vars(self).update(frozen)
            return
        self.finetuned_ = True
        self.model_.encoder.load_state_dict(encoder.state_dict())
        self.encoder_note_ += ', trained on these images'
        self.curves_ = {**losses.by_epoch, **self.curves_}  # `loss` is the heads'

    def _recipe(self, dataset: dict, count: int, seed: int) -> Config:
        recipe = find_shipped(RECIPE if self.balanced else _UNBALANCED)
        cfg = read_config(recipe)
        batch, epochs = self._schedule(count)
        values = dict(
            num_clusters=self.n_clusters_,
            epochs=epochs,
            batch_size=batch,
            num_components=min(cfg.num_components, self.feat_dim_),
        )
        if self.image_size_ is not None:
            values['image_size'] = self.image_size_
        cfg = read_config(recipe, values)
        cfg.model.backbone = deepcopy(self.encoder_config_)
        cfg.model.in_channels = self.feat_dim_
        neighbors = neighbors_within_clusters(cfg.num_neighbors, count, self.n_clusters_)
        views = dict(view1='image', neighbor='neighbor')
        cfg.train_dataloader.dataset = dict(dataset, views=views, num_neighbors=neighbors)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.default_hooks.pop('contact_sheet')
        cfg.default_hooks.checkpoint = None
        cfg.default_hooks.logger.interval = max(1, count // batch)
        cfg.randomness.seed = seed
        return cfg

    def _schedule(self, count: int) -> Tuple[int, int]:
        """Batch size and epochs for so many images."""
        batch = min(read_config(find_shipped(RECIPE)).batch_size, count)
        if count % batch == 1:
            batch -= 1  # a batch of one image cannot be spread over clusters
        steps = -(-count // batch)
        return batch, int(self.epochs or np.clip(_STEPS // steps, _LEAST, _MOST))

    def _describe(
        self,
        rows: Union[np.ndarray, Rows],
        nearest: np.ndarray,
        centers: Optional[np.ndarray] = None,
    ) -> None:
        """Set what is known of the training images."""
        found = self._outputs(rows)
        self.points_ = found.points
        found_near = compare_with_nearest(rows, nearest)
        self.nearest_similarity_, self.near_pairs_, self.duplicate_of_ = found_near
        self.probabilities_ = found.probabilities
        self.labels_ = found.probabilities.argmax(axis=1)
        self.stability_ = (found.heads == self.labels_[:, None]).mean(axis=1)
        if centers is None:
            centers = np.full((self.n_clusters_, found.points.shape[1]), np.nan, np.float32)
            for k in np.unique(self.labels_):
                centers[k] = found.points[self.labels_ == k].mean(axis=0)
        self.cluster_centers_ = centers
        self.distances_ = self._distances(found.points)[np.arange(len(rows)), self.labels_]
        heads = list(found.heads.T)
        self.sureness_ = dict(
            linear_cv=self._linear(rows, self.labels_),
            silhouette=silhouette(np.asarray(rows), self.labels_),
        )
        if len(heads) > 1:
            self.sureness_['head_agreement'] = float(agreement(heads).mean())
            self.sureness_['cluster_stability'] = cluster_stability(
                self.labels_, heads, self.n_clusters_
            )

    def _linear(self, rows: Union[np.ndarray, Rows], labels: np.ndarray) -> float:
        return 100 * linear_consistency(np.asarray(rows), labels, self.n_clusters_)

    def _choose(self, rows: Union[np.ndarray, Rows], seed: int) -> NumClusters:
        high = min(_K_RANGE[1], count_distinct(rows, 2 * _K_RANGE[1]) // 2)
        if high < 2:
            raise ValueError(
                f'{len(rows)} images are too few to say how many clusters there are: give '
                'n_clusters'
            )
        return choose_num_clusters(rows, _K_RANGE[0], high, seed)

    def _outputs(self, rows: Union[np.ndarray, Rows]) -> '_Outputs':
        model = self.model_
        device = model.head.weight.device
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), _ROWS):
                part = torch.as_tensor(np.array(rows[start : start + _ROWS], np.float32)).to(device)
                values = (
                    model.scores(part).softmax(dim=1), model.head_labels(part),
                    model.standardize(part),
                )  # fmt: skip
                parts.append([value.cpu().numpy() for value in values])
        return _Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _distances(self, points: np.ndarray) -> np.ndarray:
        centers = np.nan_to_num(self.cluster_centers_, nan=0.0)
        squares = (
            np.square(points).sum(1)[:, None] + np.square(centers).sum(1) - 2 * points @ centers.T
        )
        found = np.sqrt(np.maximum(squares, 0))
        found[:, np.isnan(self.cluster_centers_[:, 0])] = np.inf
        return found

    def _folder_cfg(self, folder: Path) -> dict:
        cfg = read_config(find_shipped(RECIPE), dict(image_size=self.image_size_))
        images = dict(cfg.train_images, data_root=str(folder), with_label=False)
        return dict(
            type='FeatureDataset',
            dataset=images,
            encoder=deepcopy(getattr(self, 'encoder_config_', None)),
            store_dir=str(self.store_dir or default_store_dir()),
            num_workers=self.num_workers,
        )

    def _open_folder(self, folder: Path, encoder: Optional[nn.Module] = None):
        cfg = self._folder_cfg(folder)
        if encoder is not None:
            # That of the model: the file that filled it may be gone.
            cfg.update(encoder=encoder, settings=encoder_settings(self.config_.model.backbone))
        init_default_scope('mmpretrain')
        return DATASETS.build(cfg)

    def _encode(self, pictures: Pictures, encoder: nn.Module) -> np.ndarray:
        init_default_scope('mmpretrain')
        cfg = read_config(find_shipped(RECIPE), dict(image_size=self.image_size_))
        preprocessor = MODELS.build(dict(cfg.data_preprocessor, mean=encoder.mean, std=encoder.std))
        return encode_pictures(pictures, encoder, cfg.pipeline, preprocessor, get_device())


class OpenedImages(NamedTuple):
    """Attributes: images of a data set, the encoder for them, how many have no row yet."""

    images: Dataset
    encoder: nn.Module
    missing: int


class _Outputs(NamedTuple):
    """Attributes: probabilities (N, K), clusters of the heads (N, V), points (N, C) they see."""

    probabilities: np.ndarray
    heads: np.ndarray
    points: np.ndarray


def size_for(short_edge: int) -> int:
    """The size at which images are seen, by their shorter side in pixels."""
    return _SMALL if short_edge <= _SMALL else _LARGE


def default_store_dir() -> Path:
    """Where rows are kept unless a user says where."""
    return cache_root() / 'features'


def _short_edge_of_folder(folder: Path) -> int:
    """The median of the shorter sides of some images of a folder, in pixels."""
    images = DATASETS.build(
        dict(type='ImageFolder', data_root=str(folder), with_label=False, pipeline=[])
    )
    edges = []
    for i in _spread(len(images), 50):
        try:
            with Image.open(images.get_data_info(i)['img_path'], formats=FORMATS) as image:
                edges.append(min(image.size))
        except Exception:  # damaged files make decoders raise anything
            continue
    return int(np.median(edges)) if edges else _LARGE


def _spread(count: int, limit: int) -> List[int]:
    """At most ``limit`` numbers below ``count``, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int)).tolist()


def _check_distinct(rows: Union[np.ndarray, Rows], num_clusters: int) -> None:
    """Refuse fewer images, or fewer different ones, than clusters."""
    if len(rows) < num_clusters:
        raise ValueError(f'{len(rows)} images cannot be clustered into {num_clusters} clusters')
    distinct = count_distinct(rows, num_clusters)
    if distinct < num_clusters:
        raise ValueError(
            f'only {distinct} of {len(rows)} images differ: they cannot be clustered into '
            f'{num_clusters} clusters'
        )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, np.integer, os.PathLike))


def _plain(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _save(path: Path, content: dict) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
