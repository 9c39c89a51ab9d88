from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from torch.nn.modules.batchnorm import _BatchNorm

from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class NormEvalHook(Hook):
    """Leaves the batch norm of the encoder in evaluation mode while its weights learn.

    That of a momentum encoder, too, if there is one.

    As ``norm_eval`` of mmpretrain's backbones, for any encoder: a network that was trained on
    millions of images keeps their statistics where those of a few small batches would replace them.
    """

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Set the mode, which each epoch sets anew."""
        model = unwrap_model(runner.model)
        followers = getattr(model, 'momentum_encoder', None)
        for encoder in (model.encoder, getattr(followers, 'encoder', None)):
            for module in [] if encoder is None else encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
