"""Imported first by every tool, before the libraries, which take seconds to import.

Until its work begins, Ctrl-C ends a tool at once and in silence, where a KeyboardInterrupt would
end in a traceback; :func:`cdc_mm.errors.clear_errors` takes over.

Threads of torch that wait for each other sleep: on a machine with other work, such as that of data
workers, they would keep busy the cores that they wait for.
"""

import os
import signal

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # is read when torch is imported

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is to be ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)
