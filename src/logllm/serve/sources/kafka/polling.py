"""The thread that asks the broker always, however long what it gave is worked on."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from threading import Event, Lock, Thread

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from logllm.errors import ServeError
from logllm.serve.sources.contract import Arrival
from logllm.serve.sources.kafka.consumer_group import Group
from logllm.serve.sources.kafka.messages import lines_of_messages
from logllm.serve.sources.kafka.troubles_of_kafka import count_of, final, not_let_in, refused_login
from logllm.serve.sources.kafka.waiting import Waiting

LOGGER = logging.getLogger("logllm.kafka")
"""The logger for what librdkafka says. Only who listens to it gets that."""
LOGGER.addHandler(logging.NullHandler())

_MESSAGES = 1_000  # asked for at once
_POLL = 0.05  # seconds
_ANSWER = 5.0  # seconds in which a broker answers a question
_PULSE = 1.0  # seconds between commits, and between looks at what waits at the broker
_LEAVING = 10.0  # seconds in which the group is left
_LOCKED_OUT = 60.0  # seconds after which a refused login is not taken for a passing one
_BEYOND = 15  # seconds in which a place after a partition's end may turn out to be before it


class Polling:
    """A member of a consumer group that never stops asking.

    It alone speaks with the consumer. A partition that the group gives to it is offered and stays
    untouched until `begin` says where it begins.
    """

    def __init__(
        self,
        consumer: Consumer,
        group: Group,
        *,
        waiting: Waiting,
        counts: Counter[str],
    ) -> None:
        """A thread that has not started."""
        self._consumer = consumer
        self._group = group
        self._waiting = waiting
        self._counts = counts
        self._thread = Thread(target=self._run, name=f"kafka {group.topic}", daemon=True)
        self._stopping = Event()
        # Shared with the thread that takes.
        self._lock = Lock()
        self._starts: dict[int, int] = {}
        self._wanted: dict[int, int] = {}
        self._refused: dict[int, float] = {}
        self.first: dict[int, int] = {}
        """Where each partition began of which no store knew."""
        self.ends: Mapping[int, int] = {}
        """One after the last message of each partition that is read, as the broker last said."""
        # This thread's own.
        self._owned: set[int] = set()
        self._next: dict[int, int] = {}
        self._beyond: Counter[int] = Counter()
        self._adrift: set[int] = set()
        self._committed: dict[int, int] = {}
        self._committing = False
        self._paused = False
        self._pulse = 0.0
        self._locked_out: float | None = None

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def begin(self, number: int, offset: int) -> None:
        """Read a partition that was offered and is claimed; `waiting.owning` is held.

        Args:
            number: The partition's.
            offset: The first message; `OFFSET_BEGINNING` or `OFFSET_END` where no store knows one.
                Such a place is told, with an arrival of no lines, once the broker has said it.
        """
        with self._lock:
            self._starts[number] = offset
            self._wanted.pop(number, None)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group how far partitions are stored."""
        with self._lock:
            self._wanted |= offsets

    def refuse(self, numbers: Iterable[int]) -> None:
        """Let go of partitions that the store says are another's; later see whether they are."""
        with self._lock:
            due = time.monotonic() + self._group.timeout
            self._refused |= dict.fromkeys(numbers, due)

    def stop(self) -> None:
        """Leave the group."""
        self._stopping.set()
        self._thread.join(_LEAVING)

    def trouble(self, error: KafkaError) -> None:
        """Something went wrong with a broker: it passes, or it is the end."""
        # What no waiting mends ends the watch; all else is counted, and librdkafka tries again by
        # itself.
        group = self._group
        end = final(error, name=group.name, topic=group.topic, group=group.group)
        if end is not None:
            self._waiting.fail(end)
            return
        self._counts[count_of(error)] += 1
        LOGGER.warning("%s: %s", self._group.name, error.str())
        if refused_login(error) and self._locked_out is None:
            self._locked_out = time.monotonic()

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What became of a commit. One that fails, as in a rebalance, is tried again later."""
        self._committing = False
        for partition in partitions:
            trouble = error or partition.error
            if trouble is None:
                self._committed[partition.partition] = partition.offset
            else:
                self._counts["refused_commits"] += 1
                LOGGER.info("%s: a place was not committed: %s", self._group.name, trouble.str())

    def _run(self) -> None:
        """Ask until it is told to stop."""
        try:
            # Callbacks run inside `consume`, and so in this thread.
            self._consumer.subscribe(
                [self._group.topic],
                on_assign=lambda _, partitions: self._given(partitions),
                on_revoke=lambda _, partitions: self._taken_away(partitions),
                on_lost=lambda _, partitions: self._taken_away(partitions),
            )
            while not self._stopping.is_set():
                self._step()
        except Exception as exc:  # noqa: BLE001 - who takes must hear of it
            self._waiting.fail(ServeError(f"{self._group.name} cannot be read on: {exc}"))
        self._leave()

    def _step(self) -> None:
        """One round: begin, ask, look after."""
        # Claims and pauses are looked at twenty times a second, places and ends once.
        self._reconsider()
        self._begin()
        self._press()
        self._receive(self._consumer.consume(_MESSAGES, _POLL))
        if time.monotonic() - self._pulse >= _PULSE:
            self._pulse = time.monotonic()
            self._return()
            self._commit()
            self._look()
            self._knock()

    def _given(self, partitions: list[TopicPartition]) -> None:
        """The group gives partitions to this process; none is fetched before it is claimed."""
        # Nothing is assigned yet: `_fetch` does it, once the partition is claimed.
        self._consumer.incremental_assign([])
        self._owned.update(partition.partition for partition in partitions)
        self._waiting.offer(self._group.partition(partition.partition) for partition in partitions)

    def _taken_away(self, partitions: list[TopicPartition]) -> None:
        """The group takes partitions from this process, or has given them to others already."""
        numbers = [partition.partition for partition in partitions]
        self._owned.difference_update(numbers)
        # A claim that has begun ends first: later it would take the partition from its new owner.
        with self._waiting.owning:
            with self._lock:
                for number in numbers:
                    self._refused.pop(number, None)
            self._let_go(numbers)

    def _let_go(self, numbers: Sequence[int]) -> None:
        """Fetch nothing of partitions any more, and drop what waits of them.

        `waiting.owning` is held.
        """
        self._waiting.withdraw(self._group.partition(number) for number in numbers)
        with self._lock:
            for number in numbers:
                self._starts.pop(number, None)
                self._wanted.pop(number, None)
        fetched = [number for number in numbers if number in self._next]
        for number in fetched:
            del self._next[number]
        for number in numbers:
            self._committed.pop(number, None)
            self._adrift.discard(number)
            self._beyond.pop(number, None)
        self._consumer.incremental_unassign([self._at(number) for number in fetched])

    def _reconsider(self) -> None:
        """Offer partitions again that the store refused, if the group still has them here."""
        with self._lock:
            refused = dict(self._refused)
        # The store refused what was written: nothing more is fetched until the claim is settled.
        for number, due in refused.items():
            ours = number in self._owned
            if number in self._next:
                with self._waiting.owning:
                    self._let_go([number])
            # As long as it takes the group to miss a member: by then it is known whose the
            # partition is.
            if ours and time.monotonic() < due:
                continue
            with self._lock:
                del self._refused[number]
            if ours:
                self._counts["claimed_again"] += 1
                self._waiting.offer([self._group.partition(number)])

    def _begin(self) -> None:
        """Fetch partitions that were claimed."""
        with self._lock:
            starts = dict(self._starts)
        for number, offset in starts.items():
            # A number of the store is taken as it is; "the beginning" and "the end" are made
            # numbers first, so that a restart before the first line begins at the same message.
            is_stored = offset >= 0
            edges = None if is_stored else self._edges(number)
            if edges is not None:
                offset = edges[0] if offset == OFFSET_BEGINNING else edges[1]
            elif not is_stored:  # asked again later
                return
            with self._lock:
                del self._starts[number]
            self._fetch(number, offset)
            if not is_stored:
                self._tell_first(number, offset)

    def _fetch(self, number: int, offset: int) -> None:
        """Read a partition from a message on."""
        self._next[number] = offset
        self._consumer.incremental_assign([self._at(number, offset)])
        if self._paused:
            self._consumer.pause([self._at(number)])

    def _tell_first(self, number: int, offset: int) -> None:
        """Say where a partition begins that no store knows, so that its place can be stored."""
        self.first[number] = offset
        self._waiting.put(self._arrival(number, []))

    def _press(self) -> None:
        """Have the broker wait while nobody takes, and go on when there is room."""
        if not self._paused and self._waiting.full:
            self._consumer.pause([self._at(number) for number in self._next])
            self._paused = True
            self._counts["pauses"] += 1
        elif self._paused and self._waiting.roomy:
            self._consumer.resume([self._at(number) for number in self._next])
            self._paused = False

    def _receive(self, messages: list[Message]) -> None:
        """Hand on what came, each partition's together."""
        # One arrival for all messages of a partition: a frame for each would be slow.
        together: dict[int, list[Message]] = {}
        for message in messages:
            error = message.error()
            number = message.partition()
            if error is not None:
                self._trouble_with(error, number)
                continue
            if number is None:
                continue
            # What is before the next message, or of no claim that holds, is of an earlier claim.
            next_offset = self._next.get(number, 1 << 63)
            if (message.offset() or 0) >= next_offset:
                together.setdefault(number, []).append(message)
        for number, news in together.items():
            self._next[number] = (news[-1].offset() or 0) + 1
            self._waiting.put(self._arrival(number, news))
            self._beyond.pop(number, None)
        if together:
            self._locked_out = None

    def _arrival(self, number: int, messages: list[Message]) -> Arrival:
        """Messages of one partition as lines."""
        lines = lines_of_messages(messages, counts=self._counts)
        return Arrival(self._group.partition(number), lines, time.time())

    def _trouble_with(self, error: KafkaError, number: int | None) -> None:
        """A partition cannot be read on, or not from where it was to begin."""
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if number in self._next:
                self._adrift.add(number)
            return
        self.trouble(error)

    def _return(self) -> None:
        """Go on with partitions whose next message is not there: where they begin now."""
        for number in list(self._adrift):
            # Messages before the partition's first one were deleted for their age; an offset past
            # its end is of a topic that was made anew, or of a leader that knows less than the last
            # one did.
            edges = self._edges(number)
            if edges is None:  # asked again later
                return
            offset = self._next[number]
            if offset < edges[0]:
                self._count_lost(number, edges[0] - offset)
                offset = edges[0]
            elif offset > edges[1]:
                self._wait_beyond(number, offset, end=edges[1])
            self._adrift.discard(number)
            self._consumer.incremental_unassign([self._at(number)])
            self._fetch(number, offset)

    def _count_lost(self, number: int, lost: int) -> None:
        """Messages are gone that nobody has read."""
        self._counts["lost_messages"] += lost
        partition = self._group.partition(number)
        LOGGER.warning("%s: %d messages were deleted before they were read", partition, lost)

    def _wait_beyond(self, number: int, offset: int, *, end: int) -> None:
        """A place after the end: tried again, as long as a new leader may still learn of it."""
        self._beyond[number] += 1
        if self._beyond[number] > _BEYOND:
            partition = f"{self._group.name}: the partition {number}"
            problem = f"ends at message {end:,}, but was read up to message {offset:,}"
            remedy = "the topic was made anew, or lost messages; watch it into a new store"
            self._waiting.fail(ServeError(f"{partition} {problem}: {remedy}"))

    def _commit(self) -> None:
        """Send places that the group does not know yet."""
        with self._lock:
            ours = self._wanted.keys() & self._next.keys()
            wanted = {number: self._wanted[number] for number in ours}
        offsets = []
        for number, offset in wanted.items():
            if offset != self._committed.get(number):
                offsets.append(self._at(number, offset))
        if self._committing or not offsets:
            return
        self._committing = True
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            self.answered(exc.args[0], offsets)

    def _look(self) -> None:
        """Where partitions end: as far as the broker has said it, nothing is asked."""
        ends = {}
        for number in self._next:
            # From librdkafka's memory (`cached`): a question to the broker would hold up the loop.
            _, end = self._consumer.get_watermark_offsets(self._at(number), cached=True)
            if end >= 0:
                ends[number] = end
        self.ends = ends

    def _knock(self) -> None:
        """After a login was refused for long, and nothing came: whether it still is."""
        if self._locked_out is None:
            return
        if time.monotonic() - self._locked_out < _LOCKED_OUT:
            return
        try:
            self._consumer.list_topics(self._group.topic, timeout=_ANSWER)
        except KafkaException as exc:
            self._waiting.fail(not_let_in(exc.args[0], name=self._group.name))
        self._locked_out = None

    def _edges(self, number: int) -> tuple[int, int] | None:
        """A partition's first message and the one after its last; none: the broker does not say."""
        try:
            return self._consumer.get_watermark_offsets(self._at(number), timeout=_ANSWER)
        except KafkaException as exc:
            self.trouble(exc.args[0])
            return None

    def _leave(self) -> None:
        """Commit what is stored, and leave the group."""
        try:
            self._commit()
            # Best effort: the store's places count, and the group's are for people.
            self._consumer.poll(_POLL)
            self._consumer.close()
        except (KafkaException, RuntimeError) as exc:
            LOGGER.info("%s: leaving the group: %s", self._group.name, exc)

    def _at(self, number: int, offset: int | None = None) -> TopicPartition:
        """A partition, and a message in it."""
        if offset is None:
            return TopicPartition(self._group.topic, number)
        return TopicPartition(self._group.topic, number, offset)
