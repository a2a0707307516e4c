"""A topic of Kafka as a source: each message a line, each partition with its own order."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException

from logllm.errors import ServeError, nearest
from logllm.serve.sources.contract import Claim, From, Place, Resumed, Taken
from logllm.serve.sources.kafka.connection import configuration, topic_of
from logllm.serve.sources.kafka.consumer_group import Group
from logllm.serve.sources.kafka.messages import line_of
from logllm.serve.sources.kafka.polling import LOGGER, Polling
from logllm.serve.sources.kafka.troubles_of_kafka import not_let_in, refused_login
from logllm.serve.sources.kafka.waiting import Waiting

MOST_LINES = 20_000
"""Lines that wait to be taken before the broker has to."""
PATIENCE = 10.0
"""Seconds in which a broker answers at start."""


class KafkaSource:
    """The partitions of a topic that a consumer group gives to this process.

    A message is read again from the place that the store holds, whatever the group says; places are
    committed to the group as well, for people who look how far it is.
    """

    def __init__(
        self,
        url: str,
        begin: From,
        *,
        settings: Mapping[str, Any] | None = None,
        most_lines: int = MOST_LINES,
        patience: float = PATIENCE,
    ) -> None:
        """A source that has not begun.

        Args:
            url: `kafka://host:port[,host:port]/topic[?group=NAME]`.
            begin: Where a partition begins that the store does not know.
            settings: librdkafka's own, by name, such as `sasl.username`.
            most_lines: Lines that wait to be taken before the broker has to.
            patience: Seconds in which a broker has to answer at start.

        Raises:
            ServeError: the address or a setting is none.
        """
        topic = topic_of(url)
        self.name = url
        self._servers = topic.servers
        self._begin: From = begin
        self._patience = patience
        self._settings = configuration(topic, settings or {})
        # librdkafka's is in milliseconds.
        timeout = float(self._settings["session.timeout.ms"]) / 1000
        self._group = Group(url, topic.name, self._settings["group.id"], timeout)
        self._waiting = Waiting(most_lines)
        self._counts: Counter[str] = Counter()
        self._errors: list[KafkaError] = []
        self._polling: Polling | None = None
        self._claim: Claim | None = None
        self._at_start: set[int] = set()
        # By claimed partition: its first message under the claim, and the one after the last taken.
        self._first: dict[str, int] = {}
        self._position: dict[str, int] = {}

    def alone(self) -> None:
        """Read in a group of one's own, which takes no partition from those who watch."""
        # A look that joined the watch's own group would take partitions from it for as long as it
        # lasts.
        group = f"{self._group.group}-look-{uuid4().hex}"
        self._settings["group.id"] = group
        self._group = self._group._replace(group=group)

    def begin(self, claim: Claim) -> None:
        """Join the group.

        Raises:
            ServeError: no broker answers or lets us in, there is no such topic, a setting is wrong.
        """
        self._claim = claim
        # Asked before the thread begins: a wrong address or a wrong topic is said at the start.
        consumer = self._connected()
        try:
            self._at_start = self._partitions(consumer)
        except ServeError:
            consumer.close()
            raise
        self._polling = Polling(consumer, self._group, waiting=self._waiting, counts=self._counts)
        self._polling.start()

    def take(self, wait: float) -> Taken:
        """What has come, at most some thousand lines; partitions that came are claimed here.

        Raises:
            ServeError: it cannot be read on, or the store does not know a partition and must.
        """
        handed = self._waiting.hand(wait)
        # Lost first: a partition may have gone and come back, and is then claimed anew.
        for partition in handed.lost:
            self._first.pop(partition, None)
            self._position.pop(partition, None)
        for partition in handed.unclaimed:
            # While this is held, the group cannot give the partition to another process.
            with self._waiting.owning:
                if self._waiting.claiming(partition):
                    self._start(partition)
                    self._waiting.claimed(partition)
        for arrival in handed.arrivals:
            self._note(arrival.partition, arrival.lines["line"].max())
        return Taken(handed.arrivals, handed.lost)

    def place(self, partition: str, line: int) -> Place:
        """From which message on a line, and all after it, will be given once more."""
        return {"offset": self._offset(partition, line)}

    def stored(self, lows: Mapping[str, int]) -> None:
        """Tell the group how far partitions are stored; none is committed past its low."""
        offsets = {}
        for name, low in lows.items():
            if name in self._first:
                offsets[_number(name)] = self._offset(name, low)
        if self._polling is not None:
            self._polling.commit(offsets)

    def refused(self, partitions: Sequence[str]) -> None:
        """Called when another process has claimed partitions; those of ours are claimed again."""
        if self._polling is not None:
            self._polling.refuse(map(_number, partitions))

    @property
    def over(self) -> bool:
        """Never: more may come."""
        return False

    @property
    def lag(self) -> int | None:
        """Messages of this process's partitions that were not taken; none: no broker has said."""
        ends = self._polling.ends if self._polling is not None else {}
        # Only of partitions of which both are known: an end without a position would count a whole
        # topic.
        positions = {_number(name): position for name, position in self._position.items()}
        both = ends.keys() & positions.keys()
        if not both:
            return None
        return sum(max(0, ends[number] - positions[number]) for number in both)

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on: `lost_messages`, `messages_without_a_value`, `broker_away`, `pauses`..."""
        return {name: count for name, count in self._counts.items() if count}

    @property
    def trouble(self) -> None:
        """None: a broker that is away is waited for, and what no waiting mends is an error."""
        return None

    def close(self) -> None:
        """Leave the group; what was not stored is given again, here or to another process."""
        if self._polling is not None:
            self._polling.stop()

    def _connected(self) -> Consumer:
        """A consumer with these settings; it has spoken with nobody yet."""
        # What goes wrong in the background is told by a callback, from whichever call serves it.
        callbacks = {"error_cb": self._troubled, "on_commit": self._answered}
        try:
            return Consumer({**self._settings, **callbacks}, logger=LOGGER)
        except (KafkaException, TypeError, ValueError) as exc:
            # A wrong name and a wrong value come as different exceptions.
            cause = exc.args[0]
            problem = cause.str() if isinstance(cause, KafkaError) else exc
            raise ServeError(f"{self.name}: a setting is wrong: {problem}") from exc

    def _partitions(self, consumer: Consumer) -> set[int]:
        """Numbers of the topic's partitions, once a broker has answered."""
        # Brokers and this process are often started together: it is waited a while.
        deadline = time.monotonic() + self._patience
        topic = self._group.topic
        while True:
            try:
                topics = consumer.list_topics(timeout=min(1.0, self._patience)).topics
            except KafkaException as exc:
                consumer.poll(0)  # what went wrong in the background is told here
                self._give_up(exc.args[0], whole=time.monotonic() > deadline)
                continue
            if topic in topics and topics[topic].error is None:
                return set(topics[topic].partitions)
            raise self._no_topic(sorted(topics))

    def _give_up(self, error: KafkaError, *, whole: bool) -> None:
        """Raise what keeps us from the broker, where waiting on does not help or was done."""
        for earlier in self._errors:
            if refused_login(earlier):
                raise not_let_in(earlier, name=self.name)
        if whole:
            down = KafkaError._ALL_BROKERS_DOWN  # this one says no reason
            reasons = [earlier for earlier in self._errors if earlier.code() != down]
            last = reasons[-1] if reasons else error
            problem = f"no broker at {self._servers} answers ({last.str()})"
            running = "is it running"
            reached = "do its listeners name an address that is reached from here?"
            raise ServeError(f"{self.name}: {problem}; {running}, and {reached}")

    def _no_topic(self, topics: list[str]) -> ServeError:
        """The error of a topic that is not there."""
        topic = self._group.topic
        # Kafka's own topics begin with two underscores.
        ordinary = [name for name in topics if not name.startswith("__")]
        visible = [name for name in ordinary if name != topic]
        hint = "it shows none that we may read"
        if visible:
            hint = f"did you mean {nearest(topic, visible)!r}?"
        return ServeError(f"{self.name}: there is no topic {topic!r} at {self._servers}; {hint}")

    def _start(self, partition: str) -> None:
        """Claim a partition, and say where it begins."""
        if self._claim is None or self._polling is None:
            return
        offset = self._where(partition, self._claim(partition))
        # OFFSET_BEGINNING and OFFSET_END are negative: where such a partition begins the broker
        # says.
        if offset >= 0:
            self._first[partition] = self._position[partition] = offset
        self._polling.begin(_number(partition), offset)

    def _where(self, partition: str, resumed: Resumed | None) -> int:
        """The message at which a partition begins."""
        if resumed is not None:
            offset = resumed.place.get("offset")
            if not isinstance(offset, int) or offset < 0:
                problem = f"the store's place of {partition} is none of Kafka's"
                raise ServeError(f"{problem}: {dict(resumed.place)}")
            return offset
        if self._begin == "stored":
            raise ServeError(f"the store does not know {partition}: say --from start or --from end")
        # A partition that was added while we watch is read whole.
        added = _number(partition) not in self._at_start
        return OFFSET_BEGINNING if added or self._begin == "start" else OFFSET_END

    def _note(self, partition: str, last: Any) -> None:
        """Lines up to this one were taken; none: where the partition begins is known now."""
        if self._polling is not None and partition not in self._first:
            self._first[partition] = self._polling.first[_number(partition)]
            self._position[partition] = self._first[partition]
        # Line 8 is the message at offset 7, and the next offset is 8: they are the same number.
        if last is not None:
            self._position[partition] = int(last)

    def _offset(self, partition: str, line: int) -> int:
        """The message that a line is; the partition's first where the line is before it."""
        return max(line - line_of(0), self._first.get(partition, 0))

    def _troubled(self, error: KafkaError) -> None:
        """Something went wrong in the background."""
        if self._polling is None:
            self._errors.append(error)
        else:
            self._polling.trouble(error)

    def _answered(self, error: KafkaError | None, partitions: list[Any]) -> None:
        """A commit was answered."""
        if self._polling is not None:
            self._polling.answered(error, partitions)


def _number(partition: str) -> int:
    """A partition's number by its name.

    >>> _number("orders/3")
    3
    """
    return int(partition.rpartition("/")[2])
