"""Imported first: Ctrl-C ends ``python -m cdc_mm`` at once while the libraries are imported.

A KeyboardInterrupt in there would end in a traceback. Files of tools have ``tools/early.py`` for
it; :func:`cdc_mm.errors.clear_errors` takes over. Programs that import this package are left alone.
"""

import os
import signal
import sys

# `-m` is there while Python looks for the module.
_COMMANDS = ('-m', 'cdc-cluster', 'cdc-train', 'cdc-test', 'cdc-run-seeds')

if os.path.basename(sys.argv[0] if sys.argv else '') in _COMMANDS:
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # as tools/early.py says
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
