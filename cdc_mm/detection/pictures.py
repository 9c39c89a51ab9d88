from copy import deepcopy
from typing import List, Sequence

import matplotlib
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, detection_utils
from detectron2.structures import BoxMode
from detectron2.utils.visualizer import Visualizer
from PIL import Image
from torch import nn


def draw_detections(
    cfg: CfgNode, model: nn.Module, filename: str, count: int = 6, min_score: float = 0.5
) -> None:
    """Draw test images in two rows: the boxes marked in them above, the boxes found below.

    Args:
        cfg (CfgNode): A full config; its first test set is drawn, evenly spaced.
        model (nn.Module): The detector.
        filename (str): The picture to write.
        count (int): The number of images.
        min_score (float): The score from which a box is drawn, in [0, 1].
    """
    name = cfg.DATASETS.TEST[0]
    records = DatasetCatalog.get(name)
    count = min(count, len(records))
    mapper = DatasetMapper(cfg, is_train=False)
    model.eval()
    columns = []
    for record in (records[i * len(records) // count] for i in range(count)):
        with torch.no_grad():
            found = model([mapper(deepcopy(record))])[0]['instances'].to('cpu')
        found = found[found.scores >= min_score]
        marked = record['annotations']
        truth = [BoxMode.convert(o['bbox'], o['bbox_mode'], BoxMode.XYXY_ABS) for o in marked]
        pixels = detection_utils.read_image(record['file_name'], 'RGB')
        rows = (
            (truth, [o['category_id'] for o in marked]),
            (found.pred_boxes.tensor.tolist(), found.pred_classes.tolist()),
        )
        classes = MetadataCatalog.get(name).thing_classes
        columns.append(np.concatenate([_draw(pixels, *row, classes) for row in rows]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(filename)


def _draw(
    pixels: np.ndarray, boxes: List[List[float]], labels: List[int], classes: Sequence[str]
) -> np.ndarray:
    # Boxes in one colour for each class, on an image of 300 pixels height.
    colors = matplotlib.colormaps['tab10'].colors
    drawn = Visualizer(pixels).overlay_instances(
        boxes=np.array(boxes).reshape(-1, 4),
        labels=[classes[label] for label in labels],
        assigned_colors=[colors[label % len(colors)] for label in labels],
    )
    image = Image.fromarray(drawn.get_image())
    return np.array(image.resize((round(300 * image.width / image.height), 300)))
