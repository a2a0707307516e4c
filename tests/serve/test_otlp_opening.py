"""Addresses of senders as `watch` opens them."""

import pytest

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.watch import SourceSection
from logllm.errors import ServeError
from logllm.serve.opening import watched


def opened(tmp_path, source, **options):
    section = SourceSection(source=source, **options)
    return watched(
        section,
        settings=PrepareSection(format=FormatSection(name="plain", kind="plain")),
        begin="end",
        spools=tmp_path,
    ).source


@pytest.mark.parametrize(
    ("address", "partition"),
    [
        ("otlp://127.0.0.1:4318", "otlp:4318"),
        ("syslog://0.0.0.0:5514", "syslog:5514"),
        ("-", "stdin"),
    ],
    ids=["otlp", "syslog", "stdin"],
)
def test_addresses_are_sources_whose_partitions_have_names(tmp_path, address, partition):
    assert opened(tmp_path, address).partition == partition


def test_a_stream_s_name_is_its_partition_s(tmp_path):
    assert opened(tmp_path, "otlp://127.0.0.1:4318", stream="shop").partition == "otlp:shop"


def test_the_token_is_the_source_s(tmp_path):
    assert opened(tmp_path, "otlp://0.0.0.0:4318", token="t").name == "otlp://0.0.0.0:4318"
    with pytest.raises(ServeError, match="is open to other machines"):
        opened(tmp_path, "otlp://0.0.0.0:4318")
