import generated
import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from helpers import ROOT
from PIL import Image

from cdc_mm.detection.config import load_config
from cdc_mm.detection.datasets import use_voc
from cdc_mm.detection.pictures import draw_detections


class Detector(torch.nn.Module):
    """Finds one box, with a given score."""

    def __init__(self, score):
        super().__init__()
        self.score = score

    def forward(self, inputs):
        found = Instances((inputs[0]['height'], inputs[0]['width']))
        found.pred_boxes = Boxes(torch.tensor([[10.0, 10.0, 40.0, 40.0]]))
        found.scores, found.pred_classes = torch.tensor([self.score]), torch.tensor([1])
        return [dict(instances=found)]


def test_shows_the_truth_above_what_was_found(tmp_path):
    root = generated.voc_detection(tmp_path / 'own', ['cell', 'dish'], train=2, val=3)
    cfg = load_config(str(ROOT / 'configs/detection/voc_R_50_C4_24k_cdc.yaml'))
    use_voc(cfg, str(root))
    pictures = []
    for score in (0.9, 0.4):
        draw_detections(cfg, Detector(score), str(tmp_path / 'x.png'), count=2)
        pictures.append(np.array(Image.open(tmp_path / 'x.png')).astype(int))
    sure, unsure = pictures
    # Images of 90x70 and 90x75 pixels side by side, 300 pixels high, in two rows.
    assert sure.shape == unsure.shape == (600, 386 + 360, 3)
    np.testing.assert_array_equal(sure[:300], unsure[:300])
    for column in (slice(0, 386), slice(386, None)):
        assert np.abs(sure[300:, column] - unsure[300:, column]).max() > 100
        assert np.abs(sure[:300, column] - unsure[300:, column]).max() > 100
