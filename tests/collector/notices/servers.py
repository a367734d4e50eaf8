"""A local service that answers as the real ones do, and as broken ones do."""

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Got:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def query(self):
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Say:
    """How to answer: a status and a body, or badly.

    Args:
        how: `whole`; `half` breaks off in the body; `cut` closes without a word; `hang` says nothing for `wait_s`;
            `drip` sends a byte at a time.
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "whole"
    wait_s: float = 0.0

    @property
    def content(self):
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body, ensure_ascii=False).encode()


class Service(ThreadingHTTPServer):
    """Answers by a list, then for ever with the last of it."""

    daemon_threads = True

    def __init__(self, *says, tls=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says = list(says) or [Say({"errcode": 0, "errmsg": "ok"})]
        self.got: list[Got] = []
        self.before: Any = None
        self.guard = threading.Lock()
        self.tls = tls
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def get_request(self):
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def choose(self, _got):
        """How to answer this one; held by the guard."""
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    def handle_error(self, request, client_address):
        """Who breaks off is what is tested here."""

    def say(self, *says):
        self.says = list(says)
        self.got.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.guard:
            self.server.got.append(Got(self.command, self.path, headers, body, time.monotonic()))
            say = self.server.choose(self.server.got[-1])
        if self.server.before is not None:
            self.server.before(self.server.got[-1])
        self.close_connection = True
        if say.how in ("hang", "cut"):
            time.sleep(say.wait_s)
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = say.content
        self.send_response(say.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        for name, value in say.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if say.how == "half":
            self.wfile.write(content[: len(content) // 2])
            return
        if say.how == "drip":
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(say.wait_s)
            return
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_):
        """Quiet."""
