import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import cdc_mm.apis as apis


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='CDC',
            backbone=dict(type='SmallConvNet', channels=(4, 8), strides=(1, 2)),
            neck=dict(type='MoCoV2Neck', in_channels=8, hid_channels=8),
            head=dict(type='CDCHead', num_clusters=3, instance_dim=5),
            queue_size=8,
            data_preprocessor=dict(type='MultiViewDataPreprocessor', mean=[9.0], std=[2.0]),
        )
    )


def batches():
    for label in (0, 1):
        images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
        yield dict(inputs=images, data_samples=[DataSample().set_gt_label(label)] * 4)


def test_rows_are_what_the_model_predicts_from(model):
    data = list(batches())
    model.train()
    names = apis.known_outputs(model)
    assert names == ('backbone', 'z', 'zc', 'zn', 'scores')
    outputs = {name: list(apis.iterate_outputs(model, data, name)) for name in names}
    assert model.training
    model.eval()
    for i, batch in enumerate(data):
        image = (batch['inputs'].float() - 9) / 2
        with torch.no_grad():
            feature_map = model.backbone(image)[0]
            z = model.head.normalize(model.neck((feature_map,))[0])
            predicted = model.predict(image)
        expected = dict(backbone=feature_map.mean((2, 3)), z=z, zc=z[:, :3], zn=z[:, 3:])
        expected['scores'] = outputs['scores'][i][0]
        for name, value in expected.items():
            rows, samples = outputs[name][i]
            assert torch.allclose(rows, value, atol=1e-6), name
        probabilities = torch.stack([sample.pred_score for sample in predicted])
        assert torch.allclose(expected['scores'].softmax(1), probabilities, atol=1e-6)
        for _, samples in (outputs[name][i] for name in names):
            assert [int(sample.gt_label) for sample in samples] == [i] * 4


def test_nothing_moves_while_it_runs(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    list(apis.iterate_outputs(model, batches()))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_refuses_an_unknown_output(model):
    with pytest.raises(ValueError, match='CDC has no zz; it has backbone, z, zc, zn, scores'):
        next(apis.iterate_outputs(model, batches(), 'zz'))
