from detectron2.layers import get_norm
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    """The box head of an R50-C4 detector with a batch norm after res5.

    Momentum Contrast for Unsupervised Visual Representation Learning
    (https://arxiv.org/abs/1911.05722), appendix on object detection.
    """

    @classmethod
    def _build_res5_block(cls, cfg):
        res5, out_channels = super()._build_res5_block(cfg)
        res5.add_module('norm', get_norm(cfg.MODEL.RESNETS.NORM, out_channels))
        return res5, out_channels
