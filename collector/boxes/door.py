"""The HTTPS listener that boxes get their certificates, detectors and systems at; it serves nothing else.

`GET /ca` gives the CA, which a box compares with its label; `POST /enrol` takes a claim; `POST /renew` wants a valid
certificate of a box, and so do `GET /detectors/SHA` and `/systems/SHA`, which give a part of a file as `Range` says. A
thread for each connection, and few of them: each does one request and has ten seconds for all of it, and who has
several open may be refused one more.
"""

import logging
import re
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography import x509
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from collector.boxes.enrolment import DeniedError, Desk
from collector.boxes.limits import RateLimit, network_of
from protocol import detectors, systems
from protocol.detectors import PART_BYTES
from protocol.enrolment import MAX_BODY_BYTES, Denied, EnrolRequest, RenewRequest

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
CONNECTIONS: Final = 32
PER_ADDRESS: Final = 8
"""Of these; a handshake and an answer take a tenth of a second, so that boxes behind one address hardly notice."""
RANGE: Final = re.compile(r"bytes=(\d{1,10})-(\d{1,10})")
KINDS: Final = {detectors.PATH: "detector", systems.PATH: "system"}
Body = TypeVar("Body", bound=BaseModel)


class Door(ThreadingHTTPServer):
    """Listens for boxes.

    Args:
        address: host and port.
        desk: decides.
        ca: PEM of the CA.
        folder: with `ca.crt` and `server.pem`.
        monotonic: seconds that never jump.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        desk: Desk,
        ca: str,
        folder: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.desk = desk
        self.ca = ca
        self.failures = RateLimit(monotonic)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(folder / "server.pem")
        self._context.load_verify_locations(folder / "ca.crt")
        # who has none may ask for its first; one that is shown must be good
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        """Connections by who has them."""
        super().__init__(address, _Request)

    def start(self) -> None:
        """Serve on a thread of its own."""
        threading.Thread(target=self.serve_forever, name="enrolment", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, or close it where there are too many."""
        network = network_of(str(client_address[0]))
        with self._lock:
            room = self._open.total() < CONNECTIONS and self._open[network] < PER_ADDRESS
            if room:
                self._open[network] += 1
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands on the connection's own thread: one that is slow holds up nobody."""
        try:
            secure = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            # the base class's: it cuts the line and leaves what TLS keeps of it to the thread that uses it
            watchdog = threading.Timer(TIMEOUT_S, socket.socket.shutdown, (secure, socket.SHUT_RDWR))
            watchdog.daemon = True
            watchdog.start()
            try:
                secure.do_handshake()
                super().process_request_thread(secure, client_address)
            finally:
                watchdog.cancel()
                secure.close()
        except (OSError, ValueError) as fault:
            log.debug("enrolment: %s: no TLS: %s", client_address, fault)
        finally:
            network = network_of(str(client_address[0]))
            with self._lock:
                self._open[network] -= 1
                if not self._open[network]:
                    del self._open[network]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver hands it in
        """One connection broke; that is its own matter."""
        log.debug("enrolment: %s: %r", client_address, sys.exception())


class _Request(BaseHTTPRequestHandler):
    server: Door
    protocol_version = "HTTP/1.0"
    server_version = "CityEye"
    sys_version = ""

    def do_GET(self) -> None:
        """The CA, or a part of a detector or a system."""
        if self.path == "/ca":
            self._send(200, self.server.ca.encode(), "application/x-pem-file")
        elif self.path.startswith(tuple(KINDS)):
            try:
                self._send_part()
            except DeniedError as fault:
                self._deny(fault)
            except (SQLAlchemyError, FileNotFoundError):
                self._deny(DeniedError(503, "later", "the center's database or that file is not there"), 60)
        else:
            self._deny(DeniedError(404, "not_found", "this is where boxes enrol; scan the label on the box itself"))

    def _send_part(self) -> None:
        asked = RANGE.fullmatch(self.headers.get("range", ""))
        if asked is None:
            raise DeniedError(416, "invalid", "expected Range: bytes=FROM-TO")
        at = int(asked[1])
        count = min(PART_BYTES, int(asked[2]) + 1 - at)
        path, _, sha256 = self.path.rpartition("/")
        part, whole = self.server.desk.part(KINDS.get(f"{path}/", ""), sha256, at, count, self._serial())
        if not part:
            raise DeniedError(416, "invalid", f"expected a part of {whole} bytes")
        self._send(206, part, "application/octet-stream", more=f"bytes {at}-{at + len(part) - 1}/{whole}")

    def do_POST(self) -> None:
        """Enrol or renew."""
        address = str(self.client_address[0])
        wait_s = self.server.failures.wait_s(address)
        if wait_s > 0:
            self._deny(DeniedError(429, "too_many", f"too many failed tries; wait for {wait_s:.0f} s"), wait_s)
            return
        try:
            answer = self._answer()
        except DeniedError as fault:
            log.warning("enrolment: %s: %s: refused: %s", address, self.path[:40], fault.code)
            self.server.failures.count(address)
            self._deny(fault)
        except SQLAlchemyError as fault:
            log.error("enrolment: the database fails: %s", getattr(fault, "orig", None) or fault)  # noqa: TRY400 - no trace wanted
            self._deny(DeniedError(503, "later", "the center's database does not answer; try again in a minute"), 60)
        else:
            self._send(200, answer.model_dump_json().encode(), "application/json")

    def _answer(self) -> BaseModel:
        if self.path == "/enrol":
            return self.server.desk.enrol(self._read(EnrolRequest))
        if self.path == "/renew":
            serial = self._serial()
            return self.server.desk.renew(self._read(RenewRequest), serial)
        raise DeniedError(404, "not_found", "expected /enrol or /renew")

    def _serial(self) -> str:
        """Of the certificate that was shown."""
        shown = self.connection.getpeercert(binary_form=True) if isinstance(self.connection, ssl.SSLSocket) else None
        if shown is None:
            raise DeniedError(401, "no_certificate", "expected a box's certificate; enrol first")
        return f"{x509.load_der_x509_certificate(shown).serial_number:x}"

    def _read(self, model: type[Body]) -> Body:
        length = self.headers.get("content-length", "")
        size = int(length) if length.isdecimal() and len(length) < 10 else 0
        if not 0 < size <= MAX_BODY_BYTES:
            self.rfile.read(min(size, 4 * MAX_BODY_BYTES))  # who sends a little too much reads the answer afterwards
            raise DeniedError(413, "too_large", f"expected a body of at most {MAX_BODY_BYTES} bytes with its length")
        try:
            return model.model_validate_json(self.rfile.read(size))
        except (ValidationError, RecursionError):
            raise DeniedError(400, "invalid", f"expected {model.__name__} in JSON") from None

    def _deny(self, fault: DeniedError, wait_s: float = 0) -> None:
        body = Denied(code=fault.code, text=str(fault)).model_dump_json().encode()
        self._send(fault.status, body, "application/json", wait_s)

    def _send(self, status: int, body: bytes, media_type: str, wait_s: float = 0, more: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        if more:
            self.send_header("content-range", more)
        if wait_s > 0:
            self.send_header("retry-after", str(round(wait_s) + 1))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Not each request: what matters is logged where it is decided."""
        log.debug("enrolment: " + format, *args)  # noqa: G003 - the format is http.server's
