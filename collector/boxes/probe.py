"""A client that shows a broker one certificate and sees what it may do; for trials and for putting a box out."""

import socket
import ssl
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from collector.boxes.authority import Authority, Issued, Usage, private_pem, write_secret
from protocol.broker import BrokerError, BrokerLine

ANSWER_S: Final = 5.0
SHORT_DAYS: Final = 10 / 1440
"""A certificate for a probe is good for ten minutes."""


class Passes:
    """Short-lived certificates with keys, in a folder that is gone at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cityeye-")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Where they lie; for a foreign CA too."""
        return Path(self._folder.name)

    def issue(
        self, authority: Authority, name: str, now_s: float, usage: Usage = "collector", days: float = SHORT_DAYS
    ) -> tuple[Path, Issued]:
        """A certificate and the PEM file that holds it and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = authority.issue(key.public_key(), name, usage, now_s, days)
        return self.keep(key, issued.pem), issued

    def keep(self, key: ec.EllipticCurvePrivateKey, pem: str) -> Path:
        """Write a key and its certificate."""
        self._count += 1
        path = self.folder / f"{self._count}.pem"
        write_secret(path, private_pem(key) + pem.encode())
        return path


class Probe:
    """One MQTT v5 connection; it never connects a second time by itself.

    Args:
        line: where the broker is; of its files, only `ca` is used.
        folder: what `ca` is relative to.
        client_id: as which it introduces itself.
        shown: PEM file with certificate and key; None: it shows none.
        will: topic and payload that the broker is to publish when the line breaks.
    """

    def __init__(
        self, line: BrokerLine, folder: Path, client_id: str, shown: Path | None, will: tuple[str, bytes] | None = None
    ) -> None:
        self._address = line.address
        self.received: list[tuple[str, bytes]] = []
        self._news = threading.Condition()
        self._refusal: str | None = None
        self._in = False
        self._gone = False
        self._published: dict[int, ReasonCode] = {}
        self._subscribed = 0
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        if line.ca is not None:
            context = ssl.create_default_context(cafile=str(folder / line.ca))
            if shown is not None:
                context.load_cert_chain(shown)
            client.tls_set_context(context)
        if will is not None:
            client.will_set(will[0], will[1], 1)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> bool:
        """Whether the broker lets it in; raises BrokerError where no broker answers."""
        self._client.connect_timeout = ANSWER_S
        host, port = self._address
        try:
            self._client.connect(host, port, keepalive=20)
        except ssl.SSLCertVerificationError as fault:
            raise BrokerError(
                f"{host}:{port}: the broker's own certificate is not good: {fault.verify_message}; renew it with "
                "`cityeye-collector init --renew --name HOST`"
            ) from None
        except ssl.SSLError:
            return False
        except OSError as fault:
            raise BrokerError(
                f"{host}:{port}: expected a broker, got: {fault.strerror or fault}; is it running?"
            ) from None
        self._client.loop_start()
        with self._news:
            self._news.wait_for(lambda: self._in or self._gone, ANSWER_S)
            return self._in and not self._gone

    @property
    def gone(self) -> bool:
        """Whether the line is broken."""
        return self._gone

    def wait_gone(self, seconds: float) -> bool:
        """Whether the line breaks within so many seconds."""
        with self._news:
            return self._news.wait_for(lambda: self._gone, seconds)

    def publish(self, topic: str, payload: bytes = b"probe", *, retain: bool = False) -> bool:
        """Whether the broker takes it: says so, within the time, and keeps the line."""
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        with self._news:
            self._news.wait_for(lambda: sent.mid in self._published or self._gone, ANSWER_S)
            code = self._published.get(sent.mid)
        return code is not None and not code.is_failure

    def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for topics; a broker may grant what it never delivers."""
        before = self._subscribed
        self._client.subscribe([(topic, 1) for topic in topics])
        with self._news:
            self._news.wait_for(lambda: self._subscribed > before or self._gone, ANSWER_S)

    def wait_received(self, topic: str, seconds: float = ANSWER_S) -> bool:
        """Whether a message on this topic comes within so many seconds."""
        with self._news:
            return self._news.wait_for(lambda: any(got == topic for got, _ in self.received), seconds)

    def break_line(self) -> None:
        """End the connection without a word, as a power cut would."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            # the base class's: TLS would say good-bye
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        with self._news:
            self._in = not code.is_failure
            self._gone = code.is_failure
            self._news.notify_all()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, _code: Any, _properties: Any) -> None:
        with self._news:
            self._gone = True
            self._news.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        with self._news:
            self._published[mid] = code
            self._news.notify_all()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, _codes: Any, _properties: Any) -> None:
        with self._news:
            self._subscribed += 1
            self._news.notify_all()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._news:
            self.received.append((message.topic, bytes(message.payload)))
            self._news.notify_all()
