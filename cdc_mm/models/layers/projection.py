from torch import Tensor, nn


def project_rows(neck: nn.Module, rows: Tensor) -> Tensor:
    """Run one of mmpretrain's necks on rows of features.

    Args:
        neck (nn.Module): Takes a tuple of feature maps, and pools and flattens the last.
        rows (Tensor): Shape (B, D).

    Returns:
        Tensor: Shape (B, out_channels).
    """
    return neck((rows[..., None, None],))[0]
