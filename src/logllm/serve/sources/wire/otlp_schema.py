"""OTLP's requests as protobuf has them, in which texts are bytes."""

from collections.abc import Iterable
from functools import cache
from typing import Any

_REQUEST = "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"


@cache
def request_class() -> Any:
    """The class of requests for logs.

    Texts are fields of bytes here, which is the same on the wire: one text that is no UTF-8 does
    not make a request unreadable, as it would with protobuf's own check.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.logs.v1 import logs_pb2
    from opentelemetry.proto.resource.v1 import resource_pb2

    # A pool of their own: in the common one these names are taken by the published classes.
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, logs_pb2, logs_service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        _texts_as_bytes(file.message_type)
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_REQUEST))


def _texts_as_bytes(messages: Iterable[Any]) -> None:
    """Change the type of fields that hold text."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto

    for message in messages:
        _texts_as_bytes(message.nested_type)
        for field in message.field:
            if field.type == FieldDescriptorProto.TYPE_STRING:
                field.type = FieldDescriptorProto.TYPE_BYTES
