import json
import os
import socket
import sys
import threading
import time
import traceback
from typing import Dict, List, Optional, Tuple

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from torch.distributed import Store, distributed_c10d

from cdc_mm.errors import hand_to_launcher

# Where a rank that waits for the others stands.
_WAITING = (os.path.join('torch', 'distributed'), os.path.join('torch', 'autograd'))


@HOOKS.register_module()
class RankWatchHook(Hook):
    """Ends a job of several processes when one of them hangs, and says which.

    Without it the others wait for as long as ``env_cfg.dist_cfg.timeout`` says, and then each
    prints a traceback of where it waited. A thread of each rank tells the others, through the
    store of torch.distributed, how far its rank is and where; none may stand still for longer than
    the limit.

    Args:
        timeout (float): Seconds without progress of any rank, in training. Defaults to 120.
        timeout_elsewhere (float): The same for what may take long on one rank while the others
            wait: the first iteration, what follows an epoch, validation. Below
            ``env_cfg.dist_cfg.timeout``, or torch is first. Defaults to 1800.

    Raises:
        ValueError: If a limit is not positive.
    """

    priority = 'VERY_HIGH'

    def __init__(self, timeout: float = 120, timeout_elsewhere: float = 1800) -> None:
        if min(timeout, timeout_elsewhere) <= 0:
            raise ValueError(
                f'the limits must be positive, got timeout={timeout}, '
                f'timeout_elsewhere={timeout_elsewhere}'
            )
        self.timeout = timeout
        self.timeout_elsewhere = timeout_elsewhere
        self._steps, self._training = 0, False
        self._done: Optional[threading.Event] = None

    def before_run(self, runner) -> None:
        """Start to watch."""
        if get_world_size() == 1 or self._done is not None:
            return
        self._done = threading.Event()
        # Of its own, as the main thread may wait in the other.
        store = distributed_c10d._get_default_store().clone()
        store.set(_key(get_rank()), json.dumps(dict(self._state(0), place='its start')))
        threading.Thread(target=self._watch, args=(store, self._done), daemon=True).start()

    def after_run(self, runner) -> None:
        """Stop watching."""
        if self._done is not None:
            self._done.set()
            self._done = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Count progress."""
        self._steps += 1

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count progress; from here on iterations are quick."""
        self._steps += 1
        self._training = True

    def after_train_epoch(self, runner) -> None:
        """What follows may take long."""
        self._training = False

    def before_val_epoch(self, runner) -> None:
        """What follows may take long."""
        self._training = False

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count progress."""
        self._steps += 1

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count progress."""
        self._steps += 1

    def _state(self, beat: int) -> dict:
        place, waits = _place()
        return dict(
            beat=beat,
            steps=self._steps,
            training=self._training,
            place=place,
            waits=waits,
            host=socket.gethostname(),
        )

    def _watch(self, store: Store, done: threading.Event) -> None:
        rank, size = get_rank(), get_world_size()
        names = [_key(other) for other in range(size)]
        pause = min(1.0, self.timeout / 4)
        beat, seen, moved = 0, {}, time.monotonic()
        while not done.wait(pause):
            beat += 1
            try:
                store.set(names[rank], json.dumps(self._state(beat)))
                if not store.check(names):
                    continue  # not all have begun
                states = [json.loads(text) for text in store.multi_get(names)]
            except RuntimeError:
                return  # the job is ending
            now = time.monotonic()
            for other, there in enumerate(states):
                before = seen.get(other)
                if before is None or before[0]['steps'] != there['steps']:
                    moved = now
                if before is None or before[0]['beat'] != there['beat']:
                    seen[other] = there, now
            silent = [other for other, (_, last) in seen.items() if now - last > 10 * pause]
            limit = self.timeout
            # A rank that was stopped may not have had the time to say that it trains.
            if not all(states[other]['training'] for other in set(range(size)) - set(silent)):
                limit = self.timeout_elsewhere
            if now - moved <= limit:
                continue
            hung, text = name_hung(states, silent)
            if rank == min(set(range(size)) - set(hung) or {0}):
                name = 'timeout' if limit == self.timeout else 'timeout_elsewhere'
                text += (
                    f'; no rank has moved for {limit:g} s (default_hooks.rank_watch.{name}). '
                    'The job ends; go on with --resume.'
                )
                if not hand_to_launcher(text):
                    print(f'\nerror: {text}', file=sys.stderr, flush=True)
            else:
                time.sleep(2)  # or its end would end the one that prints
            os._exit(1)  # the main thread waits in C


def name_hung(states: List[Dict], silent: List[int]) -> Tuple[List[int], str]:
    """Which of several ranks that all stand still is the one that the others wait for.

    Args:
        states (list): Of each rank ``steps``, ``place``, ``waits``, ``host``.
        silent (list): Ranks of which not even the watching thread answers.

    Returns:
        tuple: These ranks, and a sentence about them.
    """
    least = min(state['steps'] for state in states)
    behind = [rank for rank, state in enumerate(states) if state['steps'] == least]
    busy = [rank for rank, state in enumerate(states) if not state['waits']]
    for hung in (silent, behind, busy):
        if 0 < len(hung) < len(states):
            break
    else:
        return [], f'the ranks wait for each other, rank 0 at {states[0]["place"]}'
    what = 'does not answer, last seen' if hung is silent else 'hangs'
    text = ', '.join(
        f'rank {rank} on {states[rank]["host"]} {what} at {states[rank]["place"]}' for rank in hung
    )
    return hung, text


def _key(rank: int) -> str:
    return f'cdc_mm_watch_{rank}'


def _place() -> Tuple[str, bool]:
    """Where the main thread is, and whether it waits for other ranks there."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    stack = traceback.extract_stack(frame) if frame is not None else []
    if not stack:
        return 'its end', False
    waits = any(part in frame.filename for frame in stack[-5:] for part in _WAITING)
    last = stack[-1]
    return f'{last.filename}:{last.lineno} ({last.name})', waits
