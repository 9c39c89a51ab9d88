from mmpretrain.registry import MODELS

from .multi_view import MultiViewDataPreprocessor


@MODELS.register_module()
class LabelledDataPreprocessor(MultiViewDataPreprocessor):
    """Makes one view of a whole batch, for mmpretrain's ``ImageClassifier``.

    So a classifier that learns from labels sees the same augmentation as a model that does not.

    Args:
        batch_augments (None): What the classifier hands on, which is not used here.
        **kwargs: See :class:`MultiViewDataPreprocessor`; ``views`` must leave one.

    Raises:
        ValueError: If there is more than one view, or there are ``batch_augments``.
    """

    def __init__(self, batch_augments: None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if batch_augments is not None:
            raise ValueError('views augments here: leave model.train_cfg.augments out')
        if len(self.view_names) != 1:
            raise ValueError(
                f'a classifier takes one view, got {", ".join(self.view_names)}: set the others to '
                'None'
            )

    def forward(self, data: dict, training: bool = False) -> dict:
        """As :class:`MultiViewDataPreprocessor`, but ``inputs`` are the images of the view.

        Args:
            data (dict): A batch.
            training (bool): Whether to augment.

        Returns:
            dict: ``inputs`` (B, C, H, W) and ``data_samples``, in training on the device.
        """
        data = super().forward(data, training)
        if training:
            data['inputs'] = next(iter(data['inputs'].values()))
            data['data_samples'] = self.cast_data(data['data_samples'])
        return data
