from typing import Dict, Sequence

from matplotlib.figure import Figure

Bars = Dict[str, Sequence[float]]


def draw_leaderboard(
    panels: Dict[str, Bars],
    title: str,
    quoted: Dict[str, Dict[str, float]],
    percent: bool = True,
) -> Figure:
    """Draw methods below each other, for each figure a panel: mean, deviation and single runs.

    Args:
        panels (dict): By title of a panel, the values of the runs by method; the methods of all
            panels are those of the first, in this order from the top.
        title (str): Above all.
        quoted (dict): By title of a panel and method, a figure that was not measured. It is drawn
            as a hollow diamond.
        percent (bool): Whether all panels go to 100. Defaults to True.

    Returns:
        Figure: To be saved with ``savefig``.
    """
    methods = list(next(iter(panels.values())))
    height = 1.3 + 0.32 * len(methods)
    figure = Figure(figsize=(2.6 + 3.0 * len(panels), height), dpi=120, layout='constrained')
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, (name, bars) in zip(axes, panels.items(), strict=True):
        for y, method in enumerate(methods):
            values = list(bars.get(method, ()))
            if values:
                mean = sum(values) / len(values)
                ax.barh(y, mean, color='#4c78a8', alpha=0.35, height=0.7)
                ax.plot(values, [y] * len(values), 'o', color='#1f3f66', markersize=3.5)
                ax.plot([mean, mean], [y - 0.35, y + 0.35], color='#1f3f66', linewidth=1.8)
            other = quoted.get(name, {}).get(method)
            if other is not None:
                ax.plot(other, y, 'D', color='#b5532a', markerfacecolor='none', markersize=5)
        ax.set_xlabel(name)
        if percent:
            ax.set_xlim(min(0, ax.get_xlim()[0]), 100)
        ax.grid(axis='x', alpha=0.3)
        ax.set_axisbelow(True)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_ylim(len(methods) - 0.4, -0.6)
    return figure
