import numpy as np
import pytest

from cdc_mm.visualization import draw_contact_sheet, shrink


def test_thumbnails_are_in_their_places():
    red, green = np.zeros((8, 8, 3), np.uint8), np.zeros((200, 100, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    grey = np.full((8, 8, 1), 128, np.uint8)
    sheet = draw_contact_sheet([('a', [red, green]), ('b', [grey])], thumbnail=20)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    where = np.argwhere((sheet == (255, 0, 0)).all(-1))
    assert len(where) == 400  # enlarged to the thumbnail's size, without blur
    tall = np.argwhere((sheet == (0, 255, 0)).all(-1))
    assert np.ptp(tall, axis=0).tolist() == [19, 9]  # keeps its aspect ratio
    below = np.argwhere((sheet == 128).all(-1))
    assert below[:, 0].min() > where[:, 0].max() and below[:, 1].min() == where[:, 1].min()
    assert tall[:, 1].min() > where[:, 1].max()


def test_images_that_were_shrunk_before_look_the_same():
    rng = np.random.RandomState(0)
    images = [rng.randint(0, 256, shape).astype(np.uint8) for shape in
              ((90, 70, 3), (65, 200, 1), (64, 5, 3), (3, 8, 3))]  # fmt: skip
    small = [shrink(image) for image in images]
    assert [image.shape for image in small] == [(64, 50, 3), (21, 64, 1), (64, 5, 3), (3, 8, 3)]
    assert np.array_equal(draw_contact_sheet([('a', images)]), draw_contact_sheet([('a', small)]))


def test_title_is_drawn():
    image = np.full((8, 8, 3), 255, np.uint8)
    assert (draw_contact_sheet([('cluster 0', [image])]) < 100).any()


def test_refuses_nothing_to_draw():
    with pytest.raises(ValueError, match='at least one image'):
        draw_contact_sheet([])
