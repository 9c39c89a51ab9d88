import numpy as np
import pytest

from cdc_mm.visualization import draw_caption


@pytest.mark.parametrize(
    ('size', 'width', 'height'),
    [((8, 8), 256, 256), ((32, 20), 160, 256), ((200, 300), 300, 200), ((600, 400), 400, 600)],
)
def test_small_images_are_enlarged_by_a_whole_factor(size, width, height):
    image = np.random.RandomState(0).randint(256, size=(*size, 3), dtype=np.uint8)
    picture = draw_caption(image, 'cluster 3 (0.97)')
    assert picture.shape[1] == width
    factor = max(1, 256 // max(size))
    shown = picture[:height:factor, ::factor][: size[0], : size[1]]
    assert (shown == image).all()
    assert 15 < picture.shape[0] - height < 40


def test_a_narrow_image_gets_room_for_the_text():
    picture = draw_caption(np.zeros((256, 10, 1), np.uint8), 'cluster 3 (0.97)')
    assert picture.shape[1] > 100
