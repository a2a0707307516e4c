"""A Hugging Face hub on this machine: as much of its API as an upload of a model needs, kept in
memory."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class FakeHub(ThreadingHTTPServer):
    """Repositories with their files, tokens that may write, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.tokens = {"hf_writer": 200, "hf_reader": 403}
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.broken: dict[
            str, int
        ] = {}  # beginnings of last path parts, and the status they are answered with

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answers(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _say(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _route(self) -> None:
        body, path = self._body(), urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "objects":  # pre-signed: no token
            self.server.objects[parts[1]] = body
            return self._say(200, {})
        status = self.server.tokens.get(
            (self.headers.get("Authorization") or "").removeprefix("Bearer "), 401
        )
        status = next((code for part, code in self.server.broken.items() if part in parts), status)
        if status != 200:
            return self._say(status, {"error": "no"})
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        if parts == ["api", "validate-yaml"]:
            return self._say(200, {"errors": [], "warnings": []})
        if parts[-4:] == ["info", "lfs", "objects", "batch"]:
            return self._batch(json.loads(body))
        return self._model("/".join(parts[2:4]), parts[4:], body)

    do_GET = do_POST = do_PUT = _route

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        known = name in self.server.repositories
        self.server.repositories.setdefault(name, {})
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.server.private.setdefault(name, private)
        self._say(409 if known else 200, {"url": f"{self.server.endpoint}/{name}", "name": name})

    def _batch(self, asked: dict[str, Any]) -> None:
        href = f"{self.server.endpoint}/objects"
        actions = [
            {**each, "actions": {"upload": {"href": f"{href}/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        self._say(200, {"transfer": "basic", "objects": actions})

    def _model(self, name: str, rest: list[str], body: bytes) -> None:
        files = self.server.repositories.get(name)
        if files is None:
            return self._say(404, {"error": "Repository not found"})
        if rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            large = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if _is_large(file["path"]) else "regular",
                }
                for file in asked
            ]
            return self._say(200, {"files": [{**file, "shouldIgnore": False} for file in large]})
        if rest[:1] == ["commit"]:
            for line in body.splitlines():
                self._apply(files, json.loads(line))
            return self._say(
                200,
                {
                    "commitUrl": f"{self.server.endpoint}/{name}/commit/{'0' * 40}",
                    "commitOid": "0" * 40,
                },
            )
        if rest[:1] == ["tree"]:
            return self._say(
                200,
                [
                    {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                    for path, data in files.items()
                ],
            )
        siblings = [{"rfilename": path} for path in files]
        return self._say(
            200,
            {
                "id": name,
                "sha": "0" * 40,
                "private": self.server.private[name],
                "siblings": siblings,
            },
        )

    def _apply(self, files: dict[str, bytes], line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            content = self.server.objects[value["oid"]]
            assert hashlib.sha256(content).hexdigest() == value["oid"]
            files[value["path"]] = content
        elif line["key"] == "deletedFile":
            del files[value["path"]]


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", "tokenizer.json"))
