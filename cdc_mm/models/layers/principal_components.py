import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn


class PrincipalComponents(nn.Module):
    """Rows by their first principal components, found once before training.

    Each channel is standardised first. The components keep their variances, and one factor for all
    gives them a mean square of 1: the first ones, which say most, stay the largest.

    Args:
        num_features (int): D, the width of the rows.
        num_components (int): C, in [1, D].

    Raises:
        ValueError: If ``num_components`` is out of range.

    Attributes:
        fitted (Tensor): Whether the components are known, a buffer of one value.
    """

    def __init__(self, num_features: int, num_components: int) -> None:
        if not 1 <= num_components <= num_features:
            raise ValueError(
                f'num_components must be from 1 to the width of the rows, {num_features}, got '
                f'{num_components}'
            )
        super().__init__()
        self.num_components = num_components
        self.register_buffer('fitted', torch.tensor(False))
        self.register_buffer('weight', torch.zeros(num_components, num_features))
        self.register_buffer('bias', torch.zeros(num_components))

    def fit(self, rows: np.ndarray) -> None:
        """Find the components of rows (N, D).

        Those that so few rows cannot have are 0.

        Raises:
            ValueError: If there are fewer than two rows, or all are alike.
        """
        if len(rows) < 2:
            raise ValueError(f'{len(rows)} rows have no principal components')
        if (rows == rows[0]).all():
            raise ValueError('all rows are alike: they have no principal components')
        count = min(self.num_components, len(rows) - 1)
        steps = make_pipeline(StandardScaler(), PCA(count, svd_solver='covariance_eigh'))
        projected = steps.fit_transform(np.asarray(rows, np.float32))
        size = np.sqrt(np.square(projected).mean())
        scaler, pca = (step for _, step in steps.steps)
        weight = pca.components_ / scaler.scale_ / size
        self.weight.zero_()
        self.bias.zero_()
        self.weight[:count] = torch.from_numpy(weight).to(self.weight)
        # What the pipeline makes of a row of zeros.
        bias = steps.transform(np.zeros((1, rows.shape[1]), np.float32))[0] / size
        self.bias[:count] = torch.from_numpy(bias).to(self.bias)
        self.fitted.fill_(True)

    def update(self, rows: Tensor) -> None:
        """Nothing: training does not change them.

        Raises:
            RuntimeError: If they were never found.
        """
        if not self.fitted:
            raise RuntimeError(
                'the principal components of the rows are not known: add dict(type="FitRowsHook") '
                'to custom_hooks'
            )

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, D) by their components, shape (B, C)."""
        return nn.functional.linear(rows, self.weight, self.bias)
