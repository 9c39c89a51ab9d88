from typing import Dict

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Lines = Dict[str, tuple]


def draw_curves(panels: Dict[str, Lines], xlabel: str, ylabel: str, log_x: bool = False) -> Figure:
    """Draw curves, one panel beside the other.

    Args:
        panels (dict): Title to lines; lines are name to (x, y) or (x, y, deviations of y).
        xlabel (str): Label of the horizontal axes.
        ylabel (str): Label of the vertical axis.
        log_x (bool): Whether the horizontal axes are logarithmic, with a tick at each x.

    Returns:
        Figure: To be saved with ``savefig``.
    """
    figure = Figure(figsize=(1.2 + 4.8 * len(panels), 3.8), dpi=120, layout='constrained')
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    count = max(len(lines) for lines in panels.values())
    colors = matplotlib.colormaps['tab10' if count <= 10 else 'tab20'].colors
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for i, (name, (x, y, *deviation)) in enumerate(lines.items()):
            ax.errorbar(
                x,
                y,
                *deviation,
                label=name,
                color=colors[i % len(colors)],
                marker='o',
                # Many points are a line; dots would hide it.
                markersize=4 if len(x) <= 30 else 0,
                capsize=3,
                linewidth=1.5,
            )
        if log_x:
            ticks = sorted({value for x, *_ in lines.values() for value in x})
            ax.set_xscale('log')
            ax.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
            ax.set_xticks([], minor=True)
        else:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(title)
        ax.set_xlabel(xlabel)
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel(ylabel)
    if count > 1:
        axes[-1].legend(loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
