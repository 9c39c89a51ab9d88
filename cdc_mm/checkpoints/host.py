"""mmengine reads every checkpoint through our checks, also those of ``init_cfg``."""

from typing import Any, Optional

from mmengine.runner import checkpoint as host
from mmengine.runner.checkpoint import CheckpointLoader

from .addresses import local_checkpoint
from .files import read_checkpoint


@CheckpointLoader.register_scheme(prefixes=('', 'http://', 'https://', 'file://'), force=True)
def load_from_checked(filename: str, map_location: Any = None, *_, **__) -> dict:
    """In place of mmengine's loaders, which unpickle what comes from the net without a check.

    Args:
        filename (str): A path or an address.
        map_location: Where tensors go; all are read to the CPU, from where a model copies them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be fetched or read, or holds more than plain data.
    """
    return read_checkpoint(local_checkpoint(filename))


def _load_url(url: str, model_dir: Optional[str] = None, **_) -> dict:
    return load_from_checked(url)


# Its loaders of zoos (torchvision://, open-mmlab://, mmcls://) look up an address and call this.
host.load_url = _load_url
