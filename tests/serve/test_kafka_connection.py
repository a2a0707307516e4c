"""Addresses and settings of Kafka."""

import pytest

from logllm.errors import ServeError
from logllm.serve.sources.kafka.connection import Topic, configuration, topic_of


@pytest.mark.parametrize(
    ("url", "topic"),
    [
        pytest.param(
            "kafka://broker:9093/orders", Topic("broker:9093", "orders", None), id="one server"
        ),
        pytest.param("kafka://broker/orders", Topic("broker:9092", "orders", None), id="no port"),
        pytest.param(
            "kafka://a:1,b:2,c/app.log?group=g",
            Topic("a:1,b:2,c:9092", "app.log", "g"),
            id="three servers, a group",
        ),
        pytest.param("kafka://[::1]:9092/orders", Topic("[::1]:9092", "orders", None), id="IPv6"),
    ],
)
def test_an_address_names_servers_topic_and_group(url, topic):
    assert topic_of(url) == topic


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("kafka://broker:9092", "names no topic", id="no topic"),
        pytest.param("kafka://broker:9092/a/b", "'a/b' cannot be the name of a topic", id="a path"),
        pytest.param("kafka:///orders", "is no server", id="no server"),
        pytest.param("kafka://broker:99999/orders", "is no server", id="no such port"),
        pytest.param(
            "kafka://me:secret@broker/orders", "belong into the settings", id="a password"
        ),
        pytest.param("kafka://broker/orders?gruop=a", "did you mean 'group'", id="misspelt"),
        pytest.param(
            "kafka://broker/orders?group=", "the group has no name", id="a group without a name"
        ),
    ],
)
def test_an_address_that_is_none_is_refused(url, words):
    with pytest.raises(ServeError, match=words) as refusal:
        topic_of(url)
    assert "secret" not in str(refusal.value)


def test_settings_of_tables_within_tables_get_their_dots():
    topic = topic_of("kafka://broker/orders")
    chosen = configuration(
        topic, {"sasl": {"username": "me", "password": "secret"}, "security.protocol": "SASL_SSL"}
    )
    assert chosen["sasl.username"] == "me"
    assert chosen["security.protocol"] == "SASL_SSL"
    assert chosen["group.id"] == "logllm"
    assert chosen["enable.auto.commit"] is False


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"enable.auto.commit": True}, "cannot be set here", id="commits by itself"),
        pytest.param({"auto": {"offset": {"reset": "latest"}}}, "--from says", id="where to begin"),
        pytest.param({"group.id": "other"}, "name one", id="another group than the address"),
        pytest.param({"sasl.password": ["a"]}, "must be a text", id="a list"),
    ],
)
def test_settings_that_break_a_promise_are_refused(settings, words):
    with pytest.raises(ServeError, match=words):
        configuration(topic_of("kafka://broker/orders?group=g"), settings)
