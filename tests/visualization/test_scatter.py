import numpy as np
import pytest

from cdc_mm.visualization import draw_scatter


@pytest.mark.parametrize('count', [3, 15, 100])
def test_every_point_has_the_colour_of_its_class(count):
    labels = np.arange(200) % count
    points = np.random.RandomState(0).randn(200, 2)
    figure = draw_scatter(
        dict(zc=points, zn=points + 9), labels, [f'class {i}' for i in range(count)]
    )
    assert [ax.get_title() for ax in figure.axes] == ['zc', 'zn']
    drawn = figure.axes[1].collections[0]
    assert len(drawn.get_offsets()) == 200
    shades = {}
    for point, color in zip(drawn.get_offsets(), drawn.get_facecolors(), strict=True):
        label = labels[np.abs(points + 9 - point).sum(axis=1).argmin()]
        shades.setdefault(int(label), set()).add(tuple(color))
    assert all(len(colors) == 1 for colors in shades.values())
    assert len(set.union(*shades.values())) == count
    legend = figure.axes[1].get_legend()
    assert (legend is None) == (count > 20)
    if legend:
        assert legend.get_texts()[-1].get_text() == f'class {count - 1}'
