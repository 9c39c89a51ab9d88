"""Imported first by every tool: until its work begins, Ctrl-C ends it at once and in silence.

The libraries take seconds to import, and a KeyboardInterrupt in there ends in a traceback.
:func:`cdc_mm.errors.clear_errors` takes over. Importing ``cdc_mm`` for this would be too late.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is to be ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)
