"""What a watch does with a source of Kafka, without judging: it claims, takes, and drops what is
lost."""

import time
from collections import defaultdict

from confluent_kafka import Consumer, TopicPartition

from logllm.serve.sources.kafka.kafka_source import KafkaSource

QUICK = {
    "heartbeat.interval.ms": 30,
    "session.timeout.ms": 1_400,
    "fetch.wait.max.ms": 50,
    "statistics.interval.ms": 200,
}


class Reading:
    """A source and what it gave, by the number of the partition."""

    def __init__(self, servers, topic, *, begin="start", places=None, settings=QUICK, **options):
        self.source = KafkaSource(f"kafka://{servers}/{topic}", begin, settings=settings, **options)
        self.places = places or {}
        self.lines = defaultdict(dict)
        self.events = defaultdict(list)
        self.first_places = {}
        self._servers = servers
        self._topic = topic

    def name(self, number):
        return f"{self._topic}/{number}"

    def claim(self, partition):
        number = self._number(partition)
        self.events[number].append("claim")
        return self.places.get(number)

    def step(self, wait=0.02):
        taken = self.source.take(wait)
        for partition in taken.lost:
            self.events[self._number(partition)].append("lost")
            self.lines.pop(self._number(partition), None)
        for arrival in taken.arrivals:
            number = self._number(arrival.partition)
            assert self.events[number][-1] == "claim"
            self.first_places.setdefault(number, self.source.place(arrival.partition, 1))
            numbers = arrival.lines["line"].to_list()
            assert numbers == sorted(set(numbers))
            assert not self.lines[number] or not numbers or numbers[0] > max(self.lines[number])
            self.lines[number].update(arrival.lines.rows())

    def until(self, reached, *, seconds=10.0):
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, (dict(self.events), self.source.counts)
            self.step()

    @property
    def count(self):
        return sum(map(len, self.lines.values()))

    def committed(self, number, *, group="logllm"):
        """The place of which the group knows; negative: none."""
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": group, "log_level": 0})
        (partition,) = consumer.committed([TopicPartition(self._topic, number)], timeout=5)
        consumer.close()
        return partition.offset

    def _number(self, partition):
        topic, _, number = partition.rpartition("/")
        assert topic == self._topic
        return int(number)
