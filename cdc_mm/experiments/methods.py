"""The methods that a leaderboard compares: those of the baselines' metafiles, and our own."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import mmengine

from cdc_mm.shipped import shipped_root

from .results import find_paper_figures

# Configs of this project that are entries of their own, by the kind of data: name to title, config
# and the config of the paper's run whose figures (configs/paper.yml) belong to it.
_OWN = {
    'digits': {
        'cdc': ('CDC', 'configs/cdc_digits.py', 'configs/cdc_r18_cifar10.py'),
        'cdc_recluster': ('CDC, re-clustered', 'configs/cdc_digits_recluster.py', None),
    },
    'lite0_rows': {
        'scan_lite0': ('tools/cluster.py', 'configs/folder/scan_lite0.py', None),
    },
    'r18_cifar10': {
        'cdc': ('CDC', 'configs/cdc_r18_cifar10.py', 'configs/cdc_r18_cifar10.py'),
    },
}
FIGURES = ('acc', 'nmi', 'ari')


@dataclass(frozen=True)
class Method:
    """An entry of a leaderboard.

    Args:
        name (str): By which ``--methods`` knows it: the folder of its metafile, or the name of a
            user's config.
        title (str): As in its paper.
        config (str, optional): Its config for the data; None if there is none, or if it is an
            estimator.
        pretext (str, optional): The method from whose checkpoint it starts (``pretrained``).
        estimator (dict, optional): ``type``, a class of ``sklearn.cluster``, and its parameters.
        quoted (dict): Figures of the paper on CIFAR-10 by name (``acc``), in percent; not measured.
        own (bool): Whether it is a config of the user's.
    """

    name: str
    title: str
    config: Optional[str] = None
    pretext: Optional[str] = None
    estimator: Optional[dict] = None
    quoted: Dict[str, float] = field(default_factory=dict)
    own: bool = False


def find_methods(kind: str, root: Optional[Path] = None) -> Dict[str, Method]:
    """All methods, our own first, those without a config for the data too.

    Args:
        kind (str): ``digits``, ``lite0_rows`` or ``r18_cifar10``: how the names of configs end.
        root (Path, optional): The folder that holds ``configs``. Defaults to what is shipped.

    Returns:
        dict: Methods by name.

    Raises:
        ValueError: If a metafile is not of the form.
    """
    root = root or shipped_root()
    methods = {}
    for name, (title, config, paper) in _OWN[kind].items():
        if (root / config).is_file():
            quoted = (find_paper_figures(str(root / paper)) or {}) if paper else {}
            quoted = {key: quoted[key][0] for key in FIGURES if key in quoted}
            methods[name] = Method(name, title, config, quoted=quoted)
    for file in sorted((root / 'configs/baselines').glob('*/metafile.yml')):
        name = file.parent.name
        methods[name] = _read_metafile(file, kind)
    return methods


def choose_methods(names: Sequence[str], methods: Dict[str, Method]) -> List[Method]:
    """The methods of ``--methods``, each after the pretext that it starts from.

    Args:
        names (Sequence[str]): Names, ``all``, or paths of configs of the user's own.
        methods (dict): See :func:`find_methods`.

    Returns:
        list: The methods, each once. What they start from is added.

    Raises:
        ValueError: If a name is not known; lists those that are.
    """
    chosen: Dict[str, Method] = {}

    def add(method: Method) -> None:
        if method.name in chosen:
            if chosen[method.name] != method:
                raise ValueError(
                    f'two methods are called {method.name}: give the config {method.config} '
                    'another name'
                )
            return
        if method.pretext in methods:
            add(methods[method.pretext])
        chosen[method.name] = method

    for name in names:
        if name == 'all':
            for method in methods.values():
                add(method)
        elif name in methods:
            add(methods[name])
        elif name.endswith('.py'):
            if not Path(name).is_file():
                raise ValueError(f'there is no config {name}, which --methods names')
            add(Method(Path(name).stem, Path(name).stem, name, own=True))
        else:
            near = difflib.get_close_matches(name, methods)
            raise ValueError(
                f'there is no method {name!r}'
                + (f'; near it: {", ".join(near)}' if near else '')
                + f'. Known are {", ".join(methods)}; a path that ends with .py is a config of '
                'your own.'
            )
    return list(chosen.values())


def _read_metafile(file: Path, kind: str) -> Method:
    content = mmengine.load(file)
    try:
        collection = content['Collections'][0]
        metadata = dict(collection.get('Metadata') or {})
        title, models = collection['Name'], content['Models'] or []
        config, quoted = None, {}
        for model in models:
            if Path(model.get('Config') or '').stem.endswith(f'_{kind}') and config is None:
                config = model['Config']
                metadata.update(model.get('Metadata') or {})
            for result in model.get('Results') or []:
                if result.get('Quoted') and result['Dataset'] == 'CIFAR-10':
                    metrics = {key.lower(): value for key, value in result['Metrics'].items()}
                    quoted = quoted or {key: metrics[key] for key in FIGURES if key in metrics}
            if 'Estimator' in (model.get('Metadata') or {}):
                metadata.update(model['Metadata'])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{file} is no metafile of a method: {type(error).__name__} {error}. It has '
            'Collections (Name, Metadata) and Models (Name, Config, In Collection, Results).'
        ) from error
    estimator = None
    if config is None and 'Estimator' in metadata:
        estimator = dict(metadata.get('Parameters') or {}, type=metadata['Estimator'])
    return Method(file.parent.name, title, config, metadata.get('Pretext'), estimator, quoted)
