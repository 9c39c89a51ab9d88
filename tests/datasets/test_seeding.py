import random

import numpy as np
import torch

from cdc_mm.datasets.seeding import seeded


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_numbers_follow_from_the_entropy_alone():
    with seeded([1, 2, None]):
        first = draw()
    draw()
    with seeded([1, 2, 0]):
        assert draw() == first
    with seeded([1, 2, 3]):
        other = draw()
    assert all(a != b for a, b in zip(first, other))


def test_generators_go_on_as_if_nothing_had_been_drawn():
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    expected = draw()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    with seeded([1]):
        draw()
    assert draw() == expected
