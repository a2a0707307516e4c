"""A topic as a source, on the cluster that librdkafka brings for tests."""

import time
from contextlib import ExitStack

import pytest
from confluent_kafka import KafkaError

from logllm.errors import ServeError
from logllm.serve.sources.contract import Resumed
from logllm.serve.sources.kafka.kafka_source import KafkaSource
from tests.serve.kafka_reading import Reading
from tests.serve.mock_kafka import OFFSET_COMMIT, MockKafka


@pytest.fixture(scope="module")
def cluster():
    made = MockKafka()
    yield made
    made.close()


@pytest.fixture
def one(cluster):
    """The name of a new topic of one partition."""
    return cluster.topic(1)


@pytest.fixture
def four(cluster):
    """The name of a new topic of four partitions."""
    return cluster.topic(4)


@pytest.fixture
def reading(cluster):
    with ExitStack() as stack:

        def begun(topic, **options):
            new = Reading(cluster.servers, topic, **options)
            new.source.begin(new.claim)
            stack.callback(new.source.close)
            return new

        yield begun


def numbers(count):
    return [b"%d" % number for number in range(count)]


@pytest.mark.real
def test_lines_of_every_partition_come_with_their_numbers(cluster, reading, four):
    for partition in range(4):
        cluster.send(four, *numbers(50), partition=partition)
    mine = reading(four)
    mine.until(lambda: mine.count == 200)
    assert mine.lines[3] == {number + 1: str(number) for number in range(50)}
    assert mine.source.place(mine.name(3), 11) == {"offset": 10}
    mine.until(lambda: mine.source.lag == 0)
    assert not mine.source.over


def test_a_message_becomes_one_line_of_text(cluster, reading, one):
    cluster.send(
        one,
        b"one\r\n",
        b"two\nof two\r\n  at x",
        None,
        b"\xff\xfe bad",
        b"",
        "ä".encode() * 70_000,
        b"last",
    )
    mine = reading(one)
    mine.until(lambda: mine.count == 6)
    texts = {
        1: "one",
        2: "two#012of two#012  at x",
        4: "\ufffd\ufffd bad",
        5: "",
        6: "ä" * 70_000,
        7: "last",
    }
    assert mine.lines[0] == texts
    assert mine.source.counts == {"messages_without_a_value": 1, "replaced_characters": 2}


@pytest.mark.real
def test_what_is_longer_than_a_line_may_be_is_cut_and_counted(cluster, reading, one):
    cluster.send(one, b"x" * 1_500_000, b"after", **{"message.max.bytes": 4_000_000})
    mine = reading(one)
    mine.until(lambda: mine.count == 2)
    assert mine.lines[0] == {1: "x" * (1 << 20), 2: "after"}
    assert mine.source.counts == {"cut_lines": 1}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_topics_are_read(cluster, reading, one, codec):
    cluster.send(one, *[b"the same again"] * 100, **{"compression.type": codec, "linger.ms": 20})
    mine = reading(one)
    mine.until(lambda: mine.count == 100)
    assert set(mine.lines[0].values()) == {"the same again"}


@pytest.mark.real
def test_from_end_begins_after_the_last_and_its_place_is_told_at_once(cluster, reading, one):
    cluster.send(one, b"old", b"older")
    mine = reading(one, begin="end")
    mine.until(lambda: mine.first_places)
    assert mine.count == 0
    assert mine.first_places == {0: {"offset": 2}}
    cluster.send(one, b"new")
    mine.until(lambda: mine.count == 1)
    assert mine.lines[0] == {3: "new"}


@pytest.mark.real
def test_from_stored_refuses_a_partition_that_the_store_does_not_know(reading, one):
    mine = reading(one, begin="stored")
    with pytest.raises(ServeError, match=f"does not know {one}/0: say --from start or --from end"):
        mine.until(lambda: False)


@pytest.mark.real
def test_the_place_of_the_store_wins_over_the_groups(cluster, reading, one):
    cluster.send(one, *numbers(100))
    first = reading(one)
    first.until(lambda: first.count == 100)
    first.source.stored({first.name(0): 91})
    first.until(lambda: first.committed(0) == 90)
    first.source.close()
    second = reading(one, places={0: Resumed(41, {"offset": 40})})
    second.until(lambda: second.count == 60)
    assert min(second.lines[0]) == 41


@pytest.mark.real
def test_places_are_committed_when_the_source_is_closed(cluster, reading, one):
    cluster.send(one, *numbers(10))
    mine = reading(one)
    mine.until(lambda: mine.count == 10)
    mine.source.stored({mine.name(0): 11})
    mine.source.close()
    assert mine.committed(0) == 10


@pytest.mark.real
def test_a_place_that_is_none_of_kafkas_is_refused(reading, one):
    mine = reading(one, places={0: Resumed(1, {"inode": 3})})
    with pytest.raises(ServeError, match=f"the store's place of {one}/0 is none of Kafka's"):
        mine.until(lambda: False)


@pytest.mark.real
def test_while_nobody_takes_the_broker_waits_and_nothing_is_lost(cluster, reading, one):
    cluster.send(one, *numbers(2_500))
    mine = reading(one, most_lines=300)
    mine.until(lambda: mine.events[0])
    deadline = time.monotonic() + 5
    while not mine.source.counts.get("pauses") and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    assert mine.source.counts == {"pauses": 1}
    mine.until(lambda: mine.count == 2_500)
    assert mine.lines[0] == {number + 1: str(number) for number in range(2_500)}


@pytest.mark.real
def test_partitions_move_one_by_one_to_a_second_process_and_back(cluster, reading, four):
    for partition in range(4):
        cluster.send(four, *numbers(20), partition=partition)
    places = {partition: Resumed(11, {"offset": 10}) for partition in range(4)}
    first = reading(four, places=places)
    first.until(lambda: first.count == 40)
    second = reading(four, places=places)
    second.until(lambda: first.step() or second.count == 20)
    moved = sorted(second.lines)
    assert [first.events[number] for number in moved] == [["claim", "lost"]] * 2
    assert sorted(first.lines) == sorted(set(places) - set(moved))
    assert all(min(lines) == 11 for lines in second.lines.values())
    second.source.close()
    first.until(lambda: first.count == 40)
    assert [first.events[number] for number in moved] == [["claim", "lost", "claim"]] * 2


@pytest.mark.real
def test_a_partition_that_the_store_refuses_is_claimed_again_if_it_is_ours(cluster, reading, one):
    cluster.send(one, *numbers(10))
    mine = reading(one)
    mine.until(lambda: mine.count == 10)
    mine.source.refused([mine.name(0)])
    mine.until(lambda: mine.events[0] == ["claim", "lost"])
    assert not mine.lines[0]
    mine.until(lambda: mine.count == 10)
    assert mine.events[0] == ["claim", "lost", "claim"]
    assert mine.source.counts == {"claimed_again": 1}


@pytest.mark.real
def test_a_look_takes_no_partition_from_those_who_watch(cluster, reading, one):
    cluster.send(one, *numbers(10))
    mine = reading(one)
    mine.until(lambda: mine.count == 10)
    look = Reading(cluster.servers, one)
    look.source.alone()
    look.source.begin(look.claim)
    look.until(lambda: look.count == 10 and not mine.step())
    look.source.close()
    assert mine.events[0] == ["claim"]


@pytest.mark.real
def test_commits_that_are_refused_in_a_rebalance_are_tolerated(cluster, reading, one):
    cluster.send(one, *numbers(10))
    mine = reading(one)
    mine.until(lambda: mine.count == 10)
    cluster.refuse(OFFSET_COMMIT, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION)
    mine.source.stored({mine.name(0): 8})
    mine.until(lambda: mine.source.counts.get("refused_commits", 0) == 2)
    # Who is not of the group's generation has lost its partitions, and reads them again.
    mine.until(lambda: mine.events[0] == ["claim", "lost", "claim"] and mine.count == 10)
    mine.source.stored({mine.name(0): 8})
    mine.until(lambda: mine.committed(0) == 7)


@pytest.mark.real
def test_messages_deleted_before_they_were_read_are_counted(cluster, reading, one):
    cluster.send(one, *[b"x" * 100_000] * 80)  # the cluster keeps 5 MB of a partition
    mine = reading(one, places={0: Resumed(1, {"offset": 0})})
    mine.until(lambda: 80 in mine.lines[0])
    first = min(mine.lines[0])
    assert first > 20
    assert mine.source.counts["lost_messages"] == first - 1
    assert len(mine.lines[0]) == 80 - first + 1


@pytest.mark.real
def test_a_broker_that_goes_away_is_waited_for(cluster, reading, one, capfd):
    cluster.send(one, b"before")
    mine = reading(one)
    mine.until(lambda: mine.count == 1)
    cluster.away()
    mine.until(lambda: mine.source.counts.get("broker_away", 0) > 0)
    cluster.back()
    cluster.send(one, b"after")
    mine.until(lambda: "after" in mine.lines[0].values())
    assert capfd.readouterr() == ("", "")


def test_a_topic_that_is_not_there_is_an_error_that_names_the_nearest(reading, one):
    with pytest.raises(
        ServeError, match="there is no topic 'oders-1' at .*; did you mean 'orders-1'"
    ):
        reading("oders-1")


def test_a_broker_that_does_not_answer_at_start_is_an_error(capfd):
    source = KafkaSource("kafka://127.0.0.1:9/orders", "start", patience=0.3)
    with pytest.raises(ServeError, match="no broker at 127.0.0.1:9 answers .*refused.*listeners"):
        source.begin(lambda _: None)
    assert capfd.readouterr().err == ""


@pytest.mark.real
def test_a_broker_that_does_not_let_us_in_is_an_error(reading, one, capfd):
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl": {"mechanism": "PLAIN", "username": "a", "password": "secret"},
    }
    with pytest.raises(
        ServeError, match="the broker refuses the login .*security.protocol"
    ) as refusal:
        reading(one, settings=login)
    assert "secret" not in str(refusal.value)
    assert capfd.readouterr().err == ""


def test_a_setting_that_librdkafka_does_not_know_is_an_error(cluster):
    source = KafkaSource(
        f"kafka://{cluster.servers}/orders", "start", settings={"sesion.timeout.ms": 3}
    )
    with pytest.raises(ServeError, match="a setting is wrong: .*sesion.timeout.ms"):
        source.begin(lambda _: None)
