"""The methods that a leaderboard compares: those of the baselines' metafiles, and our own."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import mmengine

from cdc_mm.shipped import shipped_root

from .results import find_paper_figures

# Configs of this project that are entries of their own, by the kind of data and by name: title,
# config, the method that it starts from, and the config of the paper's run whose figures
# (configs/paper.yml) belong to it.
_OWN = {
    'digits': {
        'cdc': ('CDC', 'cdc_digits.py', None, 'cdc_r18_cifar10.py'),
        'cdc_selflabel': (
            'CDC + selflabel',
            'selflabel/selflabel_digits.py',
            'cdc',
            'selflabel/selflabel_r18_cifar10.py',
        ),
        'cdc_recluster': ('CDC, re-clustered', 'cdc_digits_recluster.py', None, None),
    },
    'lite0_rows': {
        'scan_lite0': ('tools/cluster.py', 'folder/scan_lite0.py', None, None),
    },
}
FIGURES = ('acc', 'nmi', 'ari')


@dataclass(frozen=True)
class Method:
    """An entry of a leaderboard.

    Args:
        name (str): By which ``--methods`` knows it: the name of its config without the data.
        title (str): As in its paper.
        config (str, optional): Its config for the data; None if there is none, or if it is an
            estimator.
        pretext (str, optional): The method from whose checkpoint it starts.
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
        kind (str): ``digits`` or ``lite0_rows``, which the names of configs say.
        root (Path, optional): The folder that holds ``configs``. Defaults to what is shipped.

    Returns:
        dict: Methods by name.

    Raises:
        ValueError: If a metafile is not of the form.
    """
    root = root or shipped_root()
    methods = {}
    for name, (title, config, pretext, paper) in _OWN[kind].items():
        if (root / 'configs' / config).is_file():
            quoted = paper and find_paper_figures(str(root / 'configs' / paper))
            quoted = {key: quoted[key][0] for key in FIGURES if key in (quoted or {})}
            methods[name] = Method(name, title, f'configs/{config}', pretext, quoted=quoted)
    for file in sorted((root / 'configs/baselines').glob('*/metafile.yml')):
        methods.update((method.name, method) for method in _read_metafile(file, kind))
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


# What of a model's name says on which data and with which network, not which method it is.
_NOT_METHOD = {'digits', 'lite0', 'rows', 'cifar10', 'r18', 'conv'}


def _read_metafile(file: Path, kind: str) -> List[Method]:
    """The methods of a metafile: one for each of its configs for the data, at least one."""
    content, folder = mmengine.load(file), file.parent.name
    try:
        collection = content['Collections'][0]
        metadata, title = collection.get('Metadata') or {}, collection['Name']
        models = content['Models'] or []
        methods = []
        for model in models:
            stem = Path(model.get('Config') or '').stem
            if f'_{kind}_' in f'{stem}_':
                name = stem.replace(f'_{kind}', '')
                variant = name.removeprefix(folder).strip('_').replace('_', ' ')
                pretext = {**metadata, **(model.get('Metadata') or {})}.get('Pretext')
                methods.append(
                    Method(
                        name,
                        f'{title} + {variant}' if variant else title,
                        model['Config'],
                        pretext and pretext.replace(f'_{kind}', ''),
                        quoted=_quoted(models, stem),
                    )
                )
        if not methods:
            estimator = None
            if 'Estimator' in metadata:
                estimator = dict(metadata.get('Parameters') or {}, type=metadata['Estimator'])
            methods = [Method(folder, title, estimator=estimator, quoted=_quoted(models, folder))]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{file} is no metafile of a method: {type(error).__name__} {error}. It has '
            'Collections (Name, Metadata) and Models (Name, Config, In Collection, Results).'
        ) from error
    return methods


def _quoted(models: List[dict], name: str) -> Dict[str, float]:
    """Figures on CIFAR-10 that are quoted of the same method on whatever network."""
    for model in models:
        if _method_words(model['Name']) == _method_words(name):
            for result in model.get('Results') or []:
                if result.get('Quoted') and result['Dataset'] == 'CIFAR-10':
                    figures = {key.lower(): value for key, value in result['Metrics'].items()}
                    return {key: figures[key] for key in FIGURES if key in figures}
    return {}


def _method_words(name: str) -> set:
    return set(name.split('_')) - _NOT_METHOD
