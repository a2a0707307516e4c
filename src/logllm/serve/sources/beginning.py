"""What people are told of logs that are read from their end."""

from collections.abc import Mapping

from logllm.counting import plural

_REMEDY = "a new store with --from start judges them too"


def beginning(passed_over: Mapping[str, int | None]) -> str | None:
    """Where logs begin, in words; None: nothing was passed over.

    Args:
        passed_over: lines by log, as a source counts them; None: nobody counts them.

    >>> beginning({"today.log": 2_286}).partition(";")[0]
    'today.log: begins at its end, 2,286 lines passed over'
    >>> beginning({"empty.log": 0})
    """
    # Of an empty log nothing is missing.
    logs = {name: lines for name, lines in passed_over.items() if lines != 0}
    if not logs:
        return None
    first, *others = logs
    where = f"{first}: begins at its end"
    if others:
        where = f"{first} and {len(others):,} more: each begins at its end"
    counted = [lines for lines in logs.values() if lines is not None]
    lines = plural(sum(counted), "line") if counted else "earlier lines"
    return f"{where}, {lines} passed over; {_REMEDY}"
