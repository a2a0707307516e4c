"""What people are told of where a watch begins to read a log."""

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


def going_on(first_lines: Mapping[str, int]) -> str | None:
    """Where logs go on that an earlier watch has read, in words; None: there are none.

    Args:
        first_lines: by log the first line that the store does not account for.

    >>> going_on({"today.log": 2_286}).partition(";")[0]
    'today.log: goes on at line 2,286, where the store was left'
    >>> going_on({})
    """
    if not first_lines:
        return None
    again = "lines of sessions that were open are read again"
    (first, line), *others = first_lines.items()
    if others:
        return f"{first} and {len(others):,} more: go on where the store was left; {again}"
    return f"{first}: goes on at line {line:,}, where the store was left; {again}"
