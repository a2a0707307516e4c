"""Stack traces in messages, shortened to what tells them apart."""

import polars as pl

_CARETS = r"^[~^ ]+$"  # beneath a line of Python's
_CALL = r"""(?x)  # a line of a stack trace: Java, JavaScript and .NET; Python; Ruby; Go; PHP; Rust
    ^at \x20 (?: .*[(].*[)].* | .*:\d+(?::\d+)? | [\w.$<>`/]+ ) $
    | ^File \x20 ".*", \x20 line \x20 \d+
    | ^(?:from \x20)? \S+ [.] (?:rb|erb|rake) : \d+ (?::in \x20 .*)? $
    | ^goroutine \x20 \d+ \x20 \[ | ^created \x20 by \x20 | ^\S+ [.]go:\d+ (?:\x20[+]0x[0-9a-f]+)? $
    | ^[\w./*()-]+ [(] (?:[{]?0x[0-9a-f]+ .* | [.]{3})? [)] $
    | ^\#\d+ \x20 | ^thrown \x20 in \x20
    | ^\d+: \x20+ \S+:: \S+ $
    | ^[.]{3} \x20 \d+ \x20 (?:more|common) | ^--- \x20 End \x20 of \x20
"""
_PYTHON = '^File "'
_NO_SOURCE = (  # what may follow a Python call and is no line of its source
    r'^(?:File "|\[Previous line repeated|During handling of|The above exception|'
    r"[\w.]*(?:Error|Exception|Warning|Exit|Interrupt|Timeout|Failure|Fault)(?::|$))"
)
_LIBRARY = (
    r"site-packages|dist-packages|/usr/(?:local/)?lib/|<frozen|node_modules|node:|internal/"
    r"|/gems/|/vendor/|/go/pkg/|/usr/local/go/|"
    r"^at (?:java|javax|jakarta|jdk|sun|com\.sun|kotlin|scala|reactor|org\.(?:springframework"
    r"|apache|hibernate|eclipse|jboss)|"
    r"io\.(?:netty|undertow)|com\.zaxxer|System|Microsoft)\.|^runtime\.|^std::|^core::|^goroutine"
    r"|^\.\.\.|^---"
)


def with_short_traces(messages: pl.Series) -> pl.Series:
    r"""Messages whose stack traces are short: exceptions, and of each run of calls the innermost.

    A library's call is taken only where all calls of the run are a library's.

    >>> own = 'File "a.py", line 1, in f\ng()\n~^^'
    >>> library = 'File "/usr/lib/b.py", line 9, in g\nraise'
    >>> trace = f"failed\nTraceback:\n{own}\n{library}\nKeyError: 7"
    >>> with_short_traces(pl.Series([trace])).item()
    'failed\nTraceback:\nFile "a.py", line 1, in f\ng()\nKeyError: 7'
    """
    several = messages.str.contains("\n", literal=True).fill_null(False)
    if not several.any():
        return messages
    # Messages are rows of lines, without what only points at a place in the line above.
    line = pl.col("line")
    whole = messages.filter(several).alias("line")
    rows = whole.to_frame().with_row_index("message")
    lines = rows.with_columns(line.str.split("\n")).explode("line")
    is_caret = line.str.contains(_CARETS)
    essential = _essential(lines.filter(~is_caret))
    short = essential.group_by("message", maintain_order=True).agg(line.str.join("\n"))
    places = several.arg_true().gather(short["message"])
    return messages.clone().scatter(places, short["line"])


def _essential(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of messages, and of each run of calls the one that tells most.

    It is the last one of Python's calls, the first one of other languages'.
    """
    line, message = pl.col("line"), pl.col("message")
    python, call, source = pl.col("python"), pl.col("call"), pl.col("source")
    own = pl.col("own")
    # A call is no message's first line.
    follows = (message == message.shift(1)).fill_null(value=False)
    is_python = line.str.contains(_PYTHON)
    is_call = line.str.contains(_CALL) & follows
    lines = lines.with_columns(python=is_python, call=is_call)
    # A line of source belongs to the call before it.
    under = python.shift(1, fill_value=False) & follows
    is_source = under & ~line.str.contains(_NO_SOURCE)
    lines = lines.with_columns(source=is_source)
    in_trace = call | source
    run = (~in_trace).cum_sum()
    lines = lines.with_columns(call=call & ~source, run=run)
    of_library = line.str.contains(_LIBRARY)
    lines = lines.with_columns(own=call & ~of_library)
    # Where all calls are a library's one of these will do.
    only_library = ~own.any().over("run")
    telling = own | (call & only_library)
    lines = lines.with_columns(told=telling.cast(pl.Int32))

    # Python writes the innermost call last, the others write it first.
    told = pl.col("told")
    last = told.cum_sum(reverse=True).over("run") == 1
    first = told.cum_sum().over("run") == 1
    innermost = pl.when(python).then(last).otherwise(first)
    lines = lines.with_columns(chosen=(told == 1) & innermost)
    chosen = pl.col("chosen")
    source_of_chosen = source & chosen.shift(1, fill_value=False)
    return lines.filter(~(call | source) | chosen | source_of_chosen)
