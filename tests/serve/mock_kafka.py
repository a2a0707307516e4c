"""The cluster that librdkafka brings for tests: brokers in this process, on loopback, with faults
by wish."""

import ctypes
import re
from pathlib import Path

import confluent_kafka
import pytest

OFFSET_COMMIT = 8
"""The number of a request in Kafka's protocol."""


def _library():
    """The librdkafka that confluent-kafka has loaded."""
    mapped = Path("/proc/self/maps")
    lines = mapped.read_text().splitlines() if mapped.exists() else []
    names = [match[1] for line in lines if (match := re.search(r"(/\S*librdkafka\S*)$", line))]
    if not names:
        pytest.skip("the librdkafka that confluent-kafka uses cannot be found")
    return ctypes.CDLL(names[0])


class MockKafka:
    """A cluster of one broker, with topics by wish."""

    def __init__(self):
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        self._library = _library()
        for name, result, arguments in (
            ("conf_new", pointer, []),
            ("conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
            ("new", pointer, [number, pointer, text, ctypes.c_size_t]),
            ("destroy", None, [pointer]),
            ("mock_cluster_new", pointer, [pointer, number]),
            ("mock_cluster_destroy", None, [pointer]),
            ("mock_cluster_bootstraps", text, [pointer]),
            ("mock_topic_create", number, [pointer, text, number, number]),
            ("mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
            ("mock_broker_set_down", number, [pointer, ctypes.c_int32]),
            ("mock_broker_set_up", number, [pointer, ctypes.c_int32]),
            (
                "mock_push_request_errors_array",
                None,
                [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)],
            ),
        ):
            function = getattr(self._library, f"rd_kafka_{name}")
            function.restype, function.argtypes = result, arguments
        settings = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(settings, b"log_level", b"0", None, 0)
        self._client = self._library.rd_kafka_new(0, settings, None, 0)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._topics = 0
        self.servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def topic(self, partitions):
        """The name of a new topic."""
        self._topics += 1
        name = f"orders-{self._topics}"
        assert (
            self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
            == 0
        )
        return name

    def refuse(self, request, *codes):
        """Answer the next requests of a kind with these errors."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(codes), array
        )

    def away(self):
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def back(self):
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def close(self):
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def send(self, topic, *values, partition=0, **settings):
        """Produce messages; nothing stands for one without a value."""
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.servers, "log_level": 0, "linger.ms": 0, **settings}
        )
        for value in values:
            while True:
                try:
                    producer.produce(topic, value, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(20) == 0
