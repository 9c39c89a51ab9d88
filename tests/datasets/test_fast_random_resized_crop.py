import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from cdc_mm.datasets.seeding import seeded


@pytest.mark.parametrize('scale', [48, (20, 30)])
@pytest.mark.parametrize('writable', [True, False])  # what is mapped from a file is not
def test_crops_are_those_of_mmpretrain_by_pillow(scale, writable):
    image = np.random.RandomState(0).randint(256, size=(40, 64, 3), dtype=np.uint8)
    image.flags.writeable = writable
    kwargs = dict(scale=scale, crop_ratio_range=(0.05, 1.0))
    fast = TRANSFORMS.build(dict(type='FastRandomResizedCrop', **kwargs))
    stock = TRANSFORMS.build(dict(type='RandomResizedCrop', backend='pillow', **kwargs))
    seen = set()
    for seed in range(20):
        results = []
        for transform in (fast, stock):
            with seeded([seed]):
                results.append(transform(dict(img=image.copy() if writable else image)))
        ours, theirs = (result['img'].astype(int) for result in results)
        assert ours.shape == theirs.shape == results[0]['img_shape']
        assert abs(ours - theirs).max() <= 1
        seen.add(ours.tobytes())
    assert len(seen) == 20


def test_has_one_way_of_resizing():
    with pytest.raises(ValueError, match='FastRandomResizedCrop has no backend'):
        TRANSFORMS.build(dict(type='FastRandomResizedCrop', scale=8, backend='cv2'))
