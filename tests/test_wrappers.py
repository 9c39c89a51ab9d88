import pytest
import torch
from mmengine.model import BaseModel, ExponentialMovingAverage, MMDistributedDataParallel
from mmpretrain.models import AverageClsScoreTTA
from torch import nn

from cdc_mm.checkpoints import check_checkpoint
from cdc_mm.models.utils import unwrap_model


class Net(BaseModel):
    training_only = ('queue',)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.register_buffer('queue', torch.zeros(3))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.fc(inputs)


@pytest.fixture(scope='module')
def _group(tmp_path_factory):
    store = tmp_path_factory.mktemp('store') / 'store'
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    'wrap',
    [
        lambda net: net,
        MMDistributedDataParallel,
        ExponentialMovingAverage,
        AverageClsScoreTTA,
        lambda net: MMDistributedDataParallel(AverageClsScoreTTA(net)),
        lambda net: ExponentialMovingAverage(MMDistributedDataParallel(net)),
    ],
    ids=['bare', 'ddp', 'ema', 'tta', 'ddp of tta', 'ema of ddp'],
)
def test_gives_the_model_itself(_group, wrap, tmp_path):
    net = Net()
    wrapped = wrap(net)
    found = unwrap_model(wrapped)
    assert type(found) is Net
    # Its checkpoint fits it in every wrapping, and what is for training only is still left out.
    path = str(tmp_path / 'x.pth')
    torch.save({k: v for k, v in net.state_dict().items() if k != 'queue'}, path)
    check_checkpoint(wrapped, path, 'test')
    with pytest.raises(ValueError, match='lacks 1 of the 3'):
        check_checkpoint(wrapped, path, 'resume')


def test_leaves_a_part_of_the_model_alone_that_has_the_same_name():
    net = Net()
    net.module = nn.Linear(2, 2)
    assert unwrap_model(net) is net
