import pytest
import torch

from cdc_mm.models.encoders import pool_features


def test_rows_maps_and_tokens():
    rows = torch.rand(2, 3)
    assert pool_features(rows) is rows and pool_features((torch.rand(2, 9), rows)) is rows
    feature_map = torch.rand(2, 3, 4, 5)
    assert torch.allclose(pool_features((feature_map,)), feature_map.mean((2, 3)))
    tokens = torch.rand(2, 7, 3)
    assert torch.equal(pool_features(tokens, 1), tokens[:, 0])
    assert torch.equal(pool_features(tokens, 5), tokens[:, 0])
    assert torch.allclose(pool_features([tokens]), tokens.mean(1))


@pytest.mark.parametrize('shape', [(3,), (1, 2, 3, 4, 5)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=str(shape).replace('(', r'\(').replace(')', r'\)')):
        pool_features(torch.rand(shape))
