"""HTTPS for the set-up page: one request a connection, few of them at a time, none for long."""

import contextlib
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from agent.setup.pages import MAX_BODY_BYTES, Answer, Pages, told

log = logging.getLogger(__name__)

MOST: Final = 24
"""Connections; one more ends the oldest, which by then is one that does nothing."""
SILENT_S: Final = 10.0
LONGEST_S: Final = 30.0
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: "Server"
    server_version, sys_version = "CityEye", ""

    def do_GET(self) -> None:
        """Answer it."""
        self._send(self.server.pages.answer(self.path, self._fields()))

    def do_POST(self) -> None:
        """Answer it, where its body is whole and not too long."""
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._send(told(413, f"expected a body of {MAX_BODY_BYTES} bytes at most, and its length"))
            return
        body = self.rfile.read(int(length))
        if len(body) == int(length):
            self._send(self.server.pages.answer(self.path, self._fields(), body))

    def _fields(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the standard library's
        """Say it as all else is said."""
        self._send(told(code, message or ""))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        length = str(len(answer.body))
        for name, value in {**HEADERS, "Content-Type": answer.media_type, "Content-Length": length}.items():
            self.send_header(name, value)
        if answer.cookie:
            self.send_header("Set-Cookie", answer.cookie)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a log for each picture is none."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves the pages until shut down."""

    daemon_threads, block_on_close, allow_reuse_address = True, False, True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, pages: Pages) -> None:
        self.pages, self._context = pages, context
        self._open: dict[socket.socket, float] = {}
        """By which connections are ended, oldest first, and when each began."""
        self._guard = threading.Lock()
        super().__init__(address, Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS and answer, on the connection's own thread."""
        handle = request.dup()
        with self._guard:
            if len(self._open) >= MOST:
                self._end(next(iter(self._open)))
            self._open[handle] = time.monotonic()
        try:
            request.settimeout(SILENT_S)
            with self._context.wrap_socket(request, server_side=True) as line:
                Handler(line, client_address, self)
        finally:
            with self._guard:
                self._open.pop(handle, None)
            handle.close()

    def service_actions(self) -> None:
        """Each half second: end what has been going on for too long."""
        with self._guard:
            for handle in [one for one, began_s in self._open.items() if time.monotonic() - began_s > LONGEST_S]:
                self._end(handle)

    def _end(self, handle: socket.socket) -> None:
        del self._open[handle]
        with contextlib.suppress(OSError):  # it has ended by itself
            handle.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the standard library's
        """One connection's fault is nobody else's: garbage, or a telephone that went away."""
        log.debug("set-up: a connection failed: %r", sys.exception())
