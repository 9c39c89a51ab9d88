from pathlib import Path

# What the configs start from, by the name that its makers gave it.
RELEASED = {
    'moco_v2_800ep_pretrain.pth.tar': (
        'https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/'
        'moco_v2_800ep_pretrain.pth.tar'
    ),
    'r-50-1000ep.pth.tar': (
        'https://dl.fbaipublicfiles.com/moco-v3/r-50-1000ep/r-50-1000ep.pth.tar'
    ),
}


def missing_checkpoint(filename: str) -> FileNotFoundError:
    """What to tell of a checkpoint that does not exist: with its address if it is a released one.

    Args:
        filename (str): The path at which it was looked for.

    Returns:
        FileNotFoundError: To be raised.
    """
    url = RELEASED.get(Path(filename).name)
    hint = f'. It is a released one: curl -L --create-dirs -o {filename} {url}' if url else ''
    return FileNotFoundError(f'there is no checkpoint {filename}{hint}')
