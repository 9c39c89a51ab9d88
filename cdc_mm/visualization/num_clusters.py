from typing import Dict

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_num_clusters(picks: Dict[str, int], curves: Dict[str, list]) -> Figure:
    """Draw what each criterion says of each number of clusters, one panel beside the other.

    The range of the answer is shaded, the pick of each criterion a line.

    Args:
        picks (dict): K that each criterion picks, as of :class:`NumClusters`.
        curves (dict): Values of the criteria at each K, likewise.

    Returns:
        Figure: To be saved with ``savefig``.
    """
    low, high = min(picks.values()), max(picks.values())
    figure = Figure(figsize=(12, 3.6), dpi=120, layout='constrained')
    titles = dict(
        agreement='agreement of k-means runs (ARI)',
        silhouette='silhouette (cosine)',
        bic='BIC of a mixture, per row (less is better)',
    )
    for ax, (name, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        deviation = curves['agreement_std'] if name == 'agreement' else None
        ax.axvspan(low - 0.3, high + 0.3, color='tab:green', alpha=0.12, linewidth=0)
        ax.errorbar(
            curves['num_clusters'], curves[name], deviation, marker='o', markersize=4, capsize=2
        )
        ax.axvline(picks[name], color='tab:orange', linestyle='--')
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(f'{title}: {picks[name]}', fontsize=10)
        ax.set_xlabel('clusters')
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    return figure
