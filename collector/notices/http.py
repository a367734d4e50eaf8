"""One HTTP request, told apart by what may have happened to it.

`requests` and its kind raise the same exception for a line that was cut before and after the request was sent. Here
the connection is made first: what fails until then was never sent.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from collector.notices.outcomes import Report, short

MAX_ANSWER: Final = 256 * 1024
TIMEOUT_S: Final = 10.0
AGENT: Final = "CityEye"
UNSURE_STATUS: Final = (408, 502, 504)
"""Whoever stands in front of the service gave up on it; the request may have been done behind it."""


class AddressError(OSError):
    """A connection to where none may go."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def after_s(self) -> float:
        """Seconds that the server wants us to wait; 0 where it does not say, or says a date."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isdecimal() and len(value) < 7 else 0.0


@dataclass(frozen=True)
class Line:
    """How requests go out.

    Args:
        timeout_s: for the whole of a request, from its connection to its last byte.
        proxy: HOST:PORT of an HTTP proxy.
        ca: certificates to trust in place of the system's.
        peer: whether an address may be called; asked once the connection stands, before anything is said, so that no
            name can point elsewhere in between. None: all may.
    """

    timeout_s: float = TIMEOUT_S
    proxy: str | None = None
    ca: Path | None = None
    peer: Callable[[str], bool] | None = None
    _kept: dict[str, ssl.SSLContext] = field(default_factory=dict, repr=False, compare=False)

    def tls(self) -> ssl.SSLContext:
        """The TLS context; raises OSError for certificates that cannot be read."""
        if "tls" not in self._kept:
            self._kept["tls"] = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        return self._kept["tls"]


def call(line: Line, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer | Report:
    """Send a request once; returns the answer, or a report where there is none. Follows no redirect."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    try:
        connection = _connection(line, parts.scheme, host, port)
    except OSError as fault:
        return Report("unreachable", "tls", f"certificates: {short(fault)}")
    cut = threading.Event()

    def end() -> None:
        cut.set()
        sock = connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # the base class's: the TLS layer stays with the thread that uses it
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    watchdog = threading.Timer(line.timeout_s, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        try:
            connection.connect()
            if cut.is_set():
                return Report("unreachable", "timeout", f"no connection within {line.timeout_s:g} s")
        except AddressError as fault:
            return Report("refused", "address", f"{host}: {fault}")
        except ssl.SSLError as fault:
            return Report("unreachable", "tls", f"{host}: no trusted TLS: {short(fault.reason or fault)}")
        except (OSError, http.client.HTTPException, UnicodeError) as fault:  # the last one: no name of a host
            code = "timeout" if isinstance(fault, TimeoutError) or cut.is_set() else "no_connection"
            return Report("unreachable", code, f"{host}: no connection: {_words(fault)}")
        return _exchange(
            connection, cut, method, url if _is_plain_proxy(line, parts.scheme) else "", headers, body, url
        )
    finally:
        watchdog.cancel()
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    cut: threading.Event,
    method: str,
    absolute: str,
    headers: Mapping[str, str],
    body: bytes,
    url: str,
) -> Answer | Report:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = {"user-agent": AGENT, "accept": "application/json, */*", "connection": "close"}
    try:
        connection.request(method, absolute or path, body or None, {**own, **headers})
        response = connection.getresponse()
        content = response.read(MAX_ANSWER + 1)
        whole = response.length in (None, 0) or len(content) > MAX_ANSWER
    except (OSError, http.client.HTTPException, ValueError) as fault:
        code = "timeout" if isinstance(fault, TimeoutError) or cut.is_set() else "cut"
        return Report("unsure", code, f"{parts.hostname}: the request was sent, no whole answer came: {_words(fault)}")
    if cut.is_set() or not whole:
        code = "timeout" if cut.is_set() else "cut"
        return Report("unsure", code, f"{parts.hostname}: the answer broke off after {len(content)} bytes")
    if len(content) > MAX_ANSWER:
        return Report("unsure", "too_large", f"{parts.hostname}: the answer is larger than {MAX_ANSWER} bytes")
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, content)


def by_status(answer: Answer) -> Report | None:
    """What a status says by itself; None for 2xx, whose body has to be read."""
    code = f"http_{answer.status}"
    if 200 <= answer.status < 300:
        return None
    said = short(answer.body[:200].decode("utf-8", "replace"))
    if answer.status in UNSURE_STATUS:
        return Report("unsure", code, f"a gateway gave up on the service: {said}")
    if answer.status in (425, 429) or answer.status >= 500:
        return Report("later", code, said, after_s=answer.after_s)
    if 300 <= answer.status < 400:
        where = urlsplit(answer.headers.get("location", "")).netloc
        return Report(
            "refused", code, f"it points elsewhere ({where or 'no place named'}); expected the address itself"
        )
    return Report("refused", code, said)


def _connection(line: Line, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    made: http.client.HTTPConnection
    proxy_host, _, proxy_port = (line.proxy or "").rpartition(":")
    if scheme == "https":
        first = (proxy_host, int(proxy_port)) if line.proxy else (host, port or 443)
        made = http.client.HTTPSConnection(*first, timeout=line.timeout_s, context=line.tls())
        if line.proxy:
            made.set_tunnel(host, port or 443)
    else:
        first = (proxy_host, int(proxy_port)) if line.proxy else (host, port or 80)
        made = http.client.HTTPConnection(*first, timeout=line.timeout_s)
    if line.peer is not None:
        # the one place between the connection and TLS, which would already tell something
        made._create_connection = partial(_checked, line.peer)  # type: ignore[attr-defined]  # noqa: SLF001
    return made


def _checked(peer: Callable[[str], bool], *args: Any) -> socket.socket:
    made = socket.create_connection(*args)
    if peer(made.getpeername()[0]):
        return made
    made.close()
    raise AddressError("it is at an address that may not be called")


def _is_plain_proxy(line: Line, scheme: str) -> bool:
    return line.proxy is not None and scheme != "https"


def _words(fault: BaseException) -> str:
    strerror: Any = getattr(fault, "strerror", None)
    return short(strerror or str(fault)) or type(fault).__name__
