from typing import Dict, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure


def draw_scatter(panels: Dict[str, np.ndarray], labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw points in the plane, coloured by class, one panel beside the other.

    Args:
        panels (dict): Title to points, shape (N, 2).
        labels (np.ndarray): Class of each point, shape (N,).
        names (Sequence[str]): Names of the classes. More than 20 get similar colours and no legend.

    Returns:
        Figure: To be saved with ``savefig``.
    """
    figure = Figure(figsize=(1.3 + 4.8 * len(panels), 5.0), dpi=120, layout='constrained')
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    few = len(names) <= 20
    cmap = matplotlib.colormaps['tab10' if len(names) <= 10 else 'tab20' if few else 'hsv']
    colors = cmap.colors if few else cmap(np.linspace(0, 1, len(names), endpoint=False))
    # Points of a class drawn last would cover the others.
    order = np.random.RandomState(0).permutation(len(labels))
    size = float(np.clip(9000 / len(labels), 1, 24))
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        shades = [colors[label] for label in labels[order]]
        ax.scatter(*points[order].T, s=size, c=shades, alpha=0.8, linewidths=0)
        ax.set_title(title)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_box_aspect(1)
    if few:
        for label, name in enumerate(names):
            axes[-1].scatter([], [], color=colors[label], label=name)
        axes[-1].legend(loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
