"""Which errors of Kafka pass by themselves and which do not, and what is to be done about those."""

from typing import Final

from confluent_kafka import KafkaError

from logllm.errors import ServeError

_AUTHENTICATION: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._SSL,
)
_AWAY: Final = (
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
)
_MISSING: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
_NO_TOPIC = "its user may not read the topic {topic}: allow it to (READ and DESCRIBE of the topic)"
_NO_GROUP = (
    "its user may not use the group {group}: allow it to (READ of the group), or name another"
)
_OTHERS_GROUP = "the group {group} is another program's: name one of its own with ?group=NAME"
_SAME_INSTANCE = "another process has the same group.instance.id: give each process its own"
_FINAL: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _NO_TOPIC,
    KafkaError.GROUP_AUTHORIZATION_FAILED: _NO_GROUP,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: _OTHERS_GROUP,
    KafkaError.FENCED_INSTANCE_ID: _SAME_INSTANCE,
}
"""What no waiting mends, and what does."""


def refused_login(error: KafkaError) -> bool:
    """Whether the broker refused who we are, or we refused it."""
    return error.code() in _AUTHENTICATION


def count_of(error: KafkaError) -> str:
    """The name under which an error that passes is counted."""
    code = error.code()
    # Even a refused login may pass: a broker that starts refuses everyone for some seconds.
    if code in _AUTHENTICATION:
        return "refused_logins"
    if code in _AWAY:
        return "broker_away"
    return "topic_missing" if code in _MISSING else "broker_errors"


def final(error: KafkaError, *, name: str, topic: str, group: str) -> ServeError | None:
    """What is to be done about an error that does not pass by itself; none: it may."""
    remedy = _FINAL.get(error.code())
    if remedy is not None:
        return ServeError(f"{name}: {remedy.format(topic=topic, group=group)}")
    # librdkafka's own word for what it cannot recover from.
    if error.fatal():
        return ServeError(f"{name} cannot be read on: {error.str()}")
    return None


def not_let_in(error: KafkaError, *, name: str) -> ServeError:
    """The error of a login that was refused."""
    remedy = "look at security.protocol, sasl.* and ssl.* among its settings"
    return ServeError(f"{name}: the broker refuses the login ({error.str()}); {remedy}")
