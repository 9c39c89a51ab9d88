from .captioned_image import draw_caption
from .contact_sheet import draw_contact_sheet, shrink
from .curves import draw_curves
from .leaderboard import draw_leaderboard
from .num_clusters import draw_num_clusters
from .scatter import draw_scatter

__all__ = [
    'draw_caption',
    'draw_contact_sheet',
    'draw_curves',
    'draw_leaderboard',
    'draw_num_clusters',
    'draw_scatter',
    'shrink',
]
