"""torchrun for dist_*.sh: what it prints ends with one line that says why the job failed.

torchrun itself follows the reason with a long summary that does not have it. ``CDC_MM_TRACEBACK=1``
leaves everything as it is.
"""

import logging
import os
import signal
import sys

import early  # noqa: F401  (first)

if not os.environ.get('CDC_MM_TRACEBACK'):
    os.environ['CDC_MM_LAUNCHER'] = '1'  # the ranks leave their reasons to this process
    logging.disable(logging.CRITICAL)  # torchrun tells what it does with which process

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

FOLLOW = 'another process of the job'


def reason(failed: ChildFailedError) -> str:
    """The message of the rank that failed first, or what became of it."""
    # What one rank says of another's end is no reason.
    rank, failure = min(
        failed.failures.items(),
        key=lambda item: (message_of(item[1]).startswith(FOLLOW), item[1].timestamp),
    )
    message = message_of(failure)
    if message:
        return message
    if failure.exitcode < 0:
        memory = failure.exitcode == -signal.SIGKILL
        return (
            f'rank {rank} (process {failure.pid}) was ended by signal {-failure.exitcode} '
            f'({failure.signal_name()})'
            + (', as the system does when memory runs out' if memory else '')
            + '. What was saved is complete (train: --resume).'
        )
    return (
        f'rank {rank} (process {failure.pid}) has failed with exit status {failure.exitcode}; '
        'what it printed above says why.'
    )


def message_of(failure: ProcessFailure) -> str:
    """What the rank has left to this process (``cdc_mm.errors.hand_to_launcher``)."""
    message = failure.error_file_data.get('message', '')
    return message if isinstance(message, str) and os.path.isfile(failure.error_file) else ''


def main() -> None:
    if os.environ.get('CDC_MM_TRACEBACK'):
        run.main()
        return
    args = run.parse_args(sys.argv[1:])
    try:
        run.run(args)
    except ChildFailedError as failed:
        raise SystemExit(f'error: {reason(failed)}') from None
    except SignalException as stopped:
        # Ended as by the signal itself, which is what a shell looks at.
        sys.stdout.flush()
        signal.signal(stopped.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.sigval)


if __name__ == '__main__':
    main()
