from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cdc_mm.evaluation.functional import NumClusters


def draw_num_clusters(found: NumClusters) -> Figure:
    """Draw what each criterion says of each number of clusters, one panel beside the other.

    The range of the answer is shaded, the pick of each criterion a line.

    Args:
        found (NumClusters): See :func:`choose_num_clusters`.

    Returns:
        Figure: To be saved with ``savefig``.
    """
    curves = found.curves
    figure = Figure(figsize=(12, 3.6), dpi=120, layout='constrained')
    titles = dict(
        agreement='agreement of k-means runs (ARI)',
        silhouette='silhouette (cosine)',
        bic='BIC of a mixture, per row (less is better)',
    )
    for ax, (name, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        deviation = curves['agreement_std'] if name == 'agreement' else None
        ax.axvspan(found.low - 0.3, found.high + 0.3, color='tab:green', alpha=0.12, linewidth=0)
        ax.errorbar(
            curves['num_clusters'], curves[name], deviation, marker='o', markersize=4, capsize=2
        )
        ax.axvline(found.picks[name], color='tab:orange', linestyle='--')
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(f'{title}: {found.picks[name]}', fontsize=10)
        ax.set_xlabel('clusters')
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    return figure
