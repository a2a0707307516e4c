"""Log statements as another release of the program might word them.

They are LogRobust's unstable log events, on masked messages.

What may change: words become synonyms, clauses and phrases change places, small words are added or
dropped, a component gets another name. `<*>` is never touched, and neither are negations. No
statement is looked up: the same rules meet every log.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
import polars as pl

from logllm.config.mask import MaskSection
from logllm.errors import DataError
from logllm.logs.masking import mask

Edit = Callable[[str, np.random.Generator], str]

SYNONYMS = """
receiving getting accepting; received got accepted; receive get accept; receives gets accepts
sending transmitting; sent transmitted; send transmit; sends transmits; starting beginning launching
started begun launched; start begin launch; starts begins launches; stopping halting; stopped halted
stop halt; stops halts; terminating ending exiting; terminated ended exited; terminate end exit
deleting removing erasing; deleted removed erased; delete remove erase; deletes removes erases
adding appending; added appended; add append; creating making; created made; create make
creates makes; reading fetching; reads fetches; writing storing; write store; written stored
writes stores; saving persisting; saved persisted; save persist; opening accessing; opened accessed
closing shutting; closed shut; connecting attaching; connected attached; connect attach
disconnecting detaching; disconnected detached; disconnect detach; connection link
connections links; loading importing; loaded imported; load import; updating refreshing
updated refreshed; update refresh; updates refreshes; changing modifying altering
changed modified altered; change modify alter; replacing substituting; replaced substituted
checking inspecting; checked inspected; check inspect; verifying validating; verified validated
verify validate; verification validation; detecting noticing; detected noticed; detect notice
found discovered; find discover; finding discovering; failed unsuccessful; failure fault
failures faults; fails breaks; error problem; errors problems; exception trouble
exceptions troubles; invalid illegal improper; missing absent; unexpected unforeseen
unknown unrecognized; unable incapable; refused rejected declined; denied forbidden prohibited
timeout time-out; expired lapsed; waiting pausing; wait pause; retrying reattempting
retry reattempt; retries reattempts; succeeded completed; successfully correctly; finished done
finish complete; success completion; ready prepared; available accessible; unavailable inaccessible
allocating reserving; allocated reserved; allocate reserve; releasing freeing; released freed
release free; registering enrolling; registered enrolled; register enroll; initializing preparing
initialize prepare; configuration setup; configured adjusted; enabled activated; enabling activating
enable activate; disabled deactivated; disabling deactivating; disable deactivate; requested asked
request query; requests queries; response answer reply; responses answers replies; replied answered
message note; messages notes; block chunk; blocks chunks; size length; sizes lengths; file document
files documents; directory folder; directories folders; path location; user account; users accounts
host machine; hosts machines; server service; servers services; client peer; clients peers
node station; nodes stations; task job; tasks jobs; thread worker; threads workers; process program
processes programs; packet datagram; packets datagrams; stream channel; streams channels
memory storage; temporary transient; total sum; number count; maximum largest; minimum smallest
limit bound; current present; previous earlier; next following; new fresh; old former; empty blank
large big; small little; quick fast; slow sluggish; correct right; corrected repaired
correctable repairable; serving providing; served provided; serve provide; transferring moving
transferred moved; transfer move; copying duplicating; copied duplicated; copy duplicate
replicate mirror; scheduled planned; scheduling planning; schedule plan; skipping omitting
skipped omitted; ignoring disregarding; ignored disregarded; aborting cancelling; aborted cancelled
abort cancel; interrupted disturbed; interrupt disturbance; recovering restoring; recovered restored
recover restore; recovery restoration; generating producing; generated produced; generate produce
executing running; executed ran; execute run; belong pertain; belongs pertains; occurred happened
occurs happens; exceeded surpassed; obtained acquired; trying attempting; tried attempted
try attempt; cannot can't; excessive undue; redundant superfluous; authentication login
password passphrase; permission authorization; version revision; duration period; interval span
warning caution
"""
"""Words that stand for one another, a group between semicolons or lines' ends."""
ADDED = ("now", "currently", "just", "also", "already", "still")
"""Words that say nothing new."""
DROPPED = frozenset(
    re.findall(
        r"\w+",
        "the a an of to for from on in at by with is are was were be been being has have had will"
        " would should",
    )
)
"""Articles, prepositions and auxiliary verbs."""
RENAMED: dict[str, str] = dict(
    re.findall(
        r"(\w+):(\w+)",
        "Responder:Handler Handler:Processor Manager:Controller Controller:Manager Server:Service"
        " Service:Server System:Registry Node:Host Client:Connector Factory:Builder Builder:Factory"
        " Listener:Observer Executor:Runner Scheduler:Planner Task:Job Job:Task Channel:Pipe"
        " Socket:Endpoint Exception:Error Error:Failure Store:Storage Storage:Store Map:Table"
        " Set:Group Block:Chunk Monitor:Watcher Worker:Agent Allocator:Provider"
        " Communicator:Messenger Context:Environment Info:Details Stream:Flow Tracker:Monitor",
    )
)
"""The last part of a component's name, and what it becomes."""
_ENDINGS = ("Impl", "Module", "Unit")
_DAEMONS = ("-core", "-service", "-main")
_PACKAGES = ("core", "server", "internal", "impl")

_WORD = re.compile(r"(?<![\w.$*/=<-])[A-Za-z][a-z'-]+(?![\w$*/=>([-]|\.\w)")
_GAP = re.compile(r"(\s+)")
_IDENTIFIER = re.compile(
    r"(?<![\w.$<])(?:[A-Za-z]\w*(?:[.$][A-Za-z]\w*)+|[A-Za-z]*[a-z][A-Z][A-Za-z]*)(?![\w$])"
)
_COMPONENT = re.compile(
    r"^[A-Za-z][\w-]*[a-z]\b(?=(?:\(\w+\))?(?:\[<\*>\])?:)"
)  # LOG: and ERROR: are levels
_LAST_PART = re.compile(r"[A-Z]?[a-z]+$")
_MARK = re.compile(r"(, |; | - )")
_PHRASE = r"(?:(?:of|from|to|for|on|at|in|by|with) (?:[a-z]+ )?|[\w-]+(?:: ?|=))<\*>(?![\w<])"
_PHRASES = re.compile(rf"(?<![\w<])({_PHRASE})(,? )({_PHRASE})")
_BRACKETS = ("()", "[]", "{}", '""', "''")


def _synonyms() -> dict[str, tuple[str, ...]]:
    """Each word's stand-ins."""
    # `start begin launch; stop end halt`: each word of a group may stand for any other of it.
    groups = [group.split() for group in re.split(r"[;\n]", SYNONYMS.strip())]
    stand_ins: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for word in group:
            stand_ins[word] = tuple(other for other in group if other != word)
    return stand_ins


_ATTEMPTS = 40
_PATIENCE = 4  # attempts after which one more kind of change is made
STAND_INS = _synonyms()
"""For each word those that may stand in its place."""


def other_words(
    messages: pl.Series, *, known: pl.Series, masks: MaskSection, seed: int
) -> pl.Series:
    """Each masked message in other words, again masked text, and none of the known messages.

    A message's other words depend on it, the known ones and the seed alone, so that a statement has
    one rewording a seed: that of a release. Two messages may come to the same words.

    Raises:
        DataError: the masks leave a message no other words.
    """
    taken = set(known)
    stable = mask(messages, masks) == messages
    worded: list[str | None] = [None] * len(messages)
    # All that have no words yet are tried together: masking costs least for many texts at once.
    for attempt in range(_ATTEMPTS):
        pending = [at for at, text in enumerate(worded) if text is None]
        drafted = [_draft(messages[at], seed=seed, attempt=attempt) for at in pending]
        drafts = pl.Series(drafted, dtype=pl.String)
        for at, draft, masked in zip(pending, drafts, mask(drafts, masks), strict=True):
            # Text that masking changes is none that `prepare` writes; rules of one's own may be
            # such that its own text is not stable.
            if draft not in taken and (masked == draft or not stable[at]):
                worded[at] = draft
    if None in worded:
        message = messages[worded.index(None)]
        raise DataError(
            f"{message!r:.200} cannot be reworded: the masks of the data change whatever it becomes"
        )
    return pl.Series(messages.name, worded, dtype=pl.String)


def _draft(message: str, *, seed: int, attempt: int) -> str:
    """An attempt at other words; later ones change more."""
    # Chance depends on the message's text alone, not on which others there are.
    digest = sha256(message.encode()).digest()
    rng = np.random.default_rng([seed, attempt, int.from_bytes(digest[:8])])
    edits = int(rng.integers(1, 4)) + attempt // _PATIENCE
    return reworded(message, rng, edits=edits)


def reworded(message: str, rng: np.random.Generator, *, edits: int) -> str:
    """A masked message in other words; the same where nothing of it can change.

    Args:
        message: Masked text.
        rng: Decides.
        edits: How many of the five kinds of change to make, where as many are possible.

    >>> reworded("Received block <*> of size <*> from <*>", np.random.default_rng(1), edits=2)
    'Accepted chunk <*> from <*> of length <*>'
    """
    # Kinds of edits in random order: not every message has a clause to move or a word to swap.
    for number in rng.permutation(len(EDITS)):
        changed = EDITS[number](message, rng)
        if changed != message and changed.strip():
            message = changed
            edits -= 1
        if not edits:
            break
    return message


def _some(words: Sequence[re.Match[str]], rng: np.random.Generator) -> list[re.Match[str]]:
    """About half of the words, and at least one; none where there are none."""
    if not words:
        return []
    # Each with a chance of a half, and one for certain.
    is_chosen = rng.random(len(words)) < 0.5
    is_chosen[rng.integers(len(words))] = True
    return [word for word, chosen in zip(words, is_chosen, strict=True) if chosen]


def _synonym(message: str, rng: np.random.Generator) -> str:
    """Words become synonyms, in the case they are written in."""
    words = [word for word in _WORD.finditer(message) if word[0].lower() in STAND_INS]
    # From the end: what stands before a word keeps its place.
    for word in reversed(_some(words, rng)):
        other = str(rng.choice(STAND_INS[word[0].lower()]))
        if word[0][0].isupper():
            other = other.capitalize()
        message = message[: word.start()] + other + message[word.end() :]
    return message


def _reorder(message: str, rng: np.random.Generator) -> str:
    """Two neighbouring clauses or phrases change places."""
    # Clauses lie at the even places, the marks between them at the odd ones. The first clause stays
    # where it is if a component's name, such as `DataNode: `, stands before it.
    pieces = _MARK.split(message)
    clauses: list[int] = []
    for at in range(0, len(pieces) - 2, 2):
        both_whole = _whole(pieces[at]) and _whole(pieces[at + 2])
        if both_whole and (at or ": " not in pieces[0]):
            clauses.append(at)
    phrases = list(_PHRASES.finditer(message))
    if not clauses and not phrases:
        return message
    # Each clause and each phrase is as likely as the other, to keep edits of one kind rare.
    chosen = int(rng.integers(len(clauses) + len(phrases)))
    if chosen < len(clauses):
        at = clauses[chosen]
        pieces[at], pieces[at + 2] = pieces[at + 2], pieces[at]
        return "".join(pieces)
    pair = phrases[chosen - len(clauses)]
    swapped = pair[3] + pair[2] + pair[1]
    return message[: pair.start()] + swapped + message[pair.end() :]


def _whole(clause: str) -> bool:
    """Whether all that a clause opens it also closes.

    >>> _whole("free <*> KB"), _whole("(size <*>")
    (True, False)
    """
    for pair in _BRACKETS:
        opening = pair[0]
        closing = pair[1]
        opened = clause.count(opening)
        closed = clause.count(closing)
        # A quote opens and closes alike: there must be an even number of them.
        balanced = opened == closed
        if opening == closing:
            balanced = opened % 2 == 0
        if not balanced:
            return False
    return True


def _add(message: str, rng: np.random.Generator) -> str:
    """Add a word that says nothing new.

    It comes neither at the front nor between a preposition and what that belongs to.
    """
    pieces = _GAP.split(message)
    # Not behind a small word: `failed to open` must not become `failed to now open`.
    places = [at for at in range(2, len(pieces), 2) if pieces[at - 2].lower() not in DROPPED]
    at = int(rng.choice([*places, len(pieces)]))
    word = str(rng.choice(ADDED))

    # Words and the gaps between them alternate: inside a message the gap comes after the word.
    added = [word, " "]
    if at == len(pieces):
        added = [" ", word]
    pieces[at:at] = added
    return "".join(pieces)


def _drop(message: str, rng: np.random.Generator) -> str:
    """Small words go, each with the white space after it."""
    small = re.finditer(r"(?<!\S)([A-Za-z]+)\s+", message)
    words = [word for word in small if word[1].lower() in DROPPED]
    for word in reversed(_some(words, rng)):
        message = message[: word.start()] + message[word.end() :]
    return message


def _rename(message: str, rng: np.random.Generator) -> str:
    """A component gets another name, wherever the message names it."""
    # Sorted, since a set's order is another one in each process, and the seed must decide.
    patterns = (_IDENTIFIER, _COMPONENT)
    names = sorted({name[0] for pattern in patterns for name in pattern.finditer(message)})
    if not names:
        return message
    name = str(rng.choice(names))
    other = _other_name(name, rng)
    return re.sub(rf"(?<![\w.$<]){re.escape(name)}(?![\w$]|\.\w)", lambda _: other, message)


def _other_name(name: str, rng: np.random.Generator) -> str:
    """Another name for a component: its last part another, one more package, or an ending."""
    stem, dot, last = name.rpartition(".")
    # Half of the dotted names get a package more, the others go on to another last part.
    if dot and rng.random() < 0.5:
        return f"{stem}.{rng.choice(_PACKAGES)}.{last}"

    # A last part that has a counterpart becomes that one, written as the name is.
    end = _LAST_PART.search(name)
    other = None
    if end:
        other = RENAMED.get(end[0].capitalize())
    if end and other:
        if end[0][0].islower():
            other = other.lower()
        return name[: end.start()] + other

    # Names of classes get another ending than those of daemons.
    is_class = re.search("[A-Z.$]", name)
    endings = _ENDINGS if is_class else _DAEMONS
    return name + str(rng.choice(endings))


EDITS: tuple[Edit, ...] = (_synonym, _reorder, _add, _drop, _rename)
"""The kinds of change."""
