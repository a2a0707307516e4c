"""OTLP over HTTP as a source: OpenTelemetry's exporters and collectors send to it.

What they send goes through the spool.
"""

import hmac
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Lock

from logllm.errors import LogLLMError, ServeError
from logllm.serve.sources.spool.spooled import SPOOL_BYTES, Spooled
from logllm.serve.sources.spool.writer import Writer
from logllm.serve.sources.wire.connections import Connection, Connections
from logllm.serve.sources.wire.counts import Counts
from logllm.serve.sources.wire.exchange import Answer, Exchange, Refused, Request, Room
from logllm.serve.sources.wire.listen_address import Address, parsed
from logllm.serve.sources.wire.otlp_json import groups_of_json
from logllm.serve.sources.wire.otlp_lines import Malformed, TooMuch, Written, written
from logllm.serve.sources.wire.otlp_protobuf import groups_of_protobuf

_EXAMPLE = "otlp://127.0.0.1:4318"
_PATH = "/v1/logs"
_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_LINGER = 0.002  # seconds; senders wait for the flush
_FLUSH = 10.0  # seconds that a flush may take before senders are told to come again
_AGAIN = "3"  # seconds; the SDK tries six times, and must hold out for more than ten
_REFUSALS = {
    401: "wrong_tokens",
    404: "unknown_paths",
    405: "unknown_paths",
    413: "too_large_requests",
    415: "unknown_types",
    503: "told_to_wait",
}


class OtlpSource(Spooled):
    """Log records of OTLP, each a line of JSON: time, severity, body, attributes, resource."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        token: str | None = None,
        limit: int = SPOOL_BYTES,
        name: str | None = None,
    ) -> None:
        """A source that has not begun.

        Args:
            address: `otlp://HOST:PORT`; port 0: any that is free.
            folder: where the spool is.
            token: what senders must have in `Authorization: Bearer ...`; none: only this machine's
                own may send.
            limit: bytes on disk at which senders are told to wait.
            name: what its partition is called instead of by its port.

        Raises:
            ServeError: that is no such address, or others could send without a token.
        """
        where = parsed(address, scheme="otlp", example=_EXAMPLE)
        if not token and not where.is_loopback:
            remedy = "give it a token that senders must have, or listen on 127.0.0.1"
            raise ServeError(f"{address} is open to other machines: {remedy}")
        self._otlp = _Otlp(where, token)
        partition = f"otlp:{name or where.port}"
        super().__init__(address, partition, listener=self._otlp, folder=folder, limit=limit)

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it begins."""
        return self._otlp.port


class _Otlp:
    """The threads that listen."""

    linger = _LINGER
    ended = False
    fault: LogLLMError | None = None

    def __init__(self, address: Address, token: str | None) -> None:
        self._address = address
        self._token = token
        self._counts = Counts()
        self._room = Room()
        self._reading = Lock()
        self._connections: Connections | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._connections.port if self._connections else 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests, records, and what was refused, by why."""
        return self._counts.all

    def start(self, writer: Writer) -> None:
        """Listen.

        Raises:
            ServeError: the address is taken, is not this machine's, or may not be used.
        """
        connections = Connections(
            lambda connection: self._serve(connection, writer), counts=self._counts
        )
        connections.open(self._address.host, self._address.port)
        self._connections = connections

    def stop(self) -> None:
        """Stop, with what was acknowledged flushed."""
        if self._connections is not None:
            self._connections.close()

    def _serve(self, connection: Connection, writer: Writer) -> None:
        """Answer a connection's requests."""
        with closing(Exchange(connection, self._room)) as exchange:
            more = True
            while more:
                # Whoever sends something that is no request is answered in the form that most
                # exporters use.
                binary = True
                try:
                    request = exchange.next()
                    if request is None:
                        return
                    binary = _type(request) != _JSON
                    answer = self._answer(request, exchange, writer=writer)
                except Refused as exc:
                    self._counts.add(**{_REFUSALS.get(exc.status, "bad_requests"): 1})
                    answer = _refusal(exc, binary=binary)
                except TimeoutError:
                    # Counted, and the connection ends: nobody may hold a thread by sending a byte a
                    # minute.
                    self._counts.add(slow_requests=1)
                    raise
                more = exchange.answer(answer)

    def _answer(self, request: Request, exchange: Exchange, *, writer: Writer) -> Answer:
        """Take a request's records, and answer once they are on disk.

        Raises:
            Refused: none of its records was taken.
            OSError: the connection broke, or was too slow.
        """
        # Refused before its body is read: by its head, and where there is no room, so that a full
        # spool costs no memory.
        self._check(request)
        if not writer.room(0):
            raise Refused(
                503, "there is no room now; send the same request later", Retry_After=_AGAIN
            )
        body = exchange.body(request)
        if request.headers.get("content-encoding", "identity").lower() == "gzip":
            body = exchange.unpacked(body)
        binary = _type(request) == _PROTOBUF
        try:
            # One at a time: values take ten times the room of the bytes they are read from.
            with self._reading:
                records = written(groups_of_protobuf(body) if binary else groups_of_json(body))
        except Malformed as exc:
            raise Refused(400, str(exc)) from exc
        except TooMuch as exc:
            raise Refused(413, str(exc)) from exc

        # Answered once it is on disk: an exporter forgets what was taken, and sends again what was
        # not.
        lot = writer.add(records.lines)
        if not writer.confirmed(lot, _FLUSH):
            raise Refused(
                503,
                "the records could not be written; send the same request later",
                Retry_After=_AGAIN,
            )
        self._counts.add(
            requests=1,
            records=len(records.lines),
            rejected_records=records.rejected,
            cut_lines=records.cut,
            replaced=records.replaced,
        )
        return _accepted(records, binary=binary)

    def _check(self, request: Request) -> None:
        """Refuse by its head what is not to be read.

        Raises:
            Refused: it has no right to send, or sends what is not taken.
        """
        # Compared in constant time, so that a wrong token does not tell by how long it took where
        # it is wrong.
        sent = request.headers.get("authorization", "").encode("latin-1")
        if self._token and not hmac.compare_digest(sent, f"Bearer {self._token}".encode()):
            raise Refused(401, "wrong token", WWW_Authenticate="Bearer")
        if request.path != _PATH:
            raise Refused(404, f"logs are accepted at {_PATH} only")
        if request.method != "POST":
            raise Refused(405, "send logs with POST", Allow="POST")
        if _type(request) not in (_PROTOBUF, _JSON):
            raise Refused(415, f"a body is {_PROTOBUF} or {_JSON}")
        if request.headers.get("content-encoding", "identity").lower() not in ("gzip", "identity"):
            raise Refused(415, "a body must be plain or gzip", Accept_Encoding="gzip")


def _type(request: Request) -> str:
    """What a request's body is said to be."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _accepted(records: Written, *, binary: bool) -> Answer:
    """The answer to what was taken, with what was not."""
    if binary:
        # Here: who never sends protobuf need not have the package.
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        response = ExportLogsServiceResponse()
        if records.rejected:
            response.partial_success.rejected_log_records = records.rejected
            response.partial_success.error_message = records.reason
        return Answer(200, response.SerializeToString(), _PROTOBUF)
    partial = {"rejectedLogRecords": str(records.rejected), "errorMessage": records.reason}
    content = {"partialSuccess": partial} if records.rejected else {}
    return Answer(200, json.dumps(content).encode(), _JSON)


def _refusal(refused: Refused, *, binary: bool) -> Answer:
    """The answer to what was not: a `Status`, whose field 2 is its message."""
    if not binary:
        words = json.dumps({"message": str(refused)}).encode()
        return Answer(refused.status, words, _JSON, refused.headers)
    # Protobuf by hand: 0x12 is field 2 of the type "bytes", then its length in one byte, which
    # holds at most 127.
    message = str(refused).encode()[:127]
    status = b"\x12" + bytes([len(message)]) + message
    return Answer(refused.status, status, _PROTOBUF, refused.headers)
