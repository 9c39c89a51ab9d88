import pytest
from mmpretrain.registry import HOOKS

from cdc_mm.engine.hooks.rank_watch_hook import _place, name_hung


def ranks(*states):
    return [
        dict(steps=steps, waits=waits, place=f'place {i}', host='machine')
        for i, (steps, waits) in enumerate(states)
    ]


@pytest.mark.parametrize(
    ('states', 'silent', 'hung', 'text'),
    [
        # Stopped, as by a signal or a machine that is gone.
        (
            ranks((7, True), (7, True), (7, True)),
            [2],
            [2],
            'rank 2 on machine does not answer, last seen at place 2',
        ),
        # The others are in the next iteration.
        (ranks((6, False), (7, True), (7, False)), [], [0], 'rank 0 on machine hangs at place 0'),
        # All are in the same one, and all but one wait for others.
        (ranks((7, True), (7, False)), [], [1], 'rank 1 on machine hangs at place 1'),
        (ranks((7, True), (7, True)), [], [], 'the ranks wait for each other, rank 0 at place 0'),
    ],
)
def test_which_rank_the_others_wait_for(states, silent, hung, text):
    assert name_hung(states, silent) == (hung, text)


def test_where_the_main_thread_is():
    place, waits = _place()
    assert '(_place)' in place and not waits


def test_limits_are_positive():
    with pytest.raises(ValueError, match='must be positive, got timeout=0'):
        HOOKS.build(dict(type='RankWatchHook', timeout=0))
