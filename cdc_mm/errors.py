class RunError(RuntimeError):
    """What ends a run for a reason that its user can mend; the message says how."""
