from cdc_mm.visualization import draw_curves


def test_each_panel_has_its_lines_and_the_last_a_legend(tmp_path):
    panels = dict(
        ACC={'a': ([20, 40], [50, 60]), 'b': ([20, 40], [30, 80])},
        NMI={'a': ([20, 40], [40, 50], [1, 2]), 'b': ([20, 40], [20, 70], [0, 0])},
    )
    figure = draw_curves(panels, 'epoch', 'percent')
    assert [ax.get_title() for ax in figure.axes] == ['ACC', 'NMI']
    assert figure.axes[0].get_ylabel() == 'percent' and figure.axes[1].get_xlabel() == 'epoch'
    drawn = figure.axes[1].containers[1][0]
    assert drawn.get_xdata().tolist() == [20, 40] and drawn.get_ydata().tolist() == [20, 70]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ['a', 'b']
    assert figure.axes[0].get_legend() is None
    figure.savefig(tmp_path / 'curves.png')


def test_logarithmic_axes_show_the_values():
    figure = draw_curves({'': {'acc': ([0.05, 0.1, 1.0], [1, 2, 3])}}, 't', 'ACC', log_x=True)
    (ax,) = figure.axes
    assert ax.get_xscale() == 'log' and ax.get_legend() is None
    assert [label.get_text() for label in ax.get_xticklabels()] == ['0.05', '0.1', '1']
