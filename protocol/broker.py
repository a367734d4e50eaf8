"""Where the broker is, and how either side proves to it who it is."""

import ssl
import threading
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import model_validator

from protocol.documents import Section

MAX_PACKET_BYTES: Final = 1024 * 1024
KEEPALIVE_S: Final = 20
PROBE_S: Final = 10.0
SESSION_EXPIRY_S: Final = 24 * 3600
"""While the collector is away, the broker queues what it can; what it cannot, the boxes send again."""

# mosquitto refuses a publish beyond its message_size_limit with this code, which the specification has for DISCONNECT
# only. paho takes it for a broken packet, connects anew and sends the same message again, for ever.
ReasonCode.names = {
    **ReasonCode.names,
    149: {"Packet too large": [*ReasonCode.names[149]["Packet too large"], PacketTypes.PUBACK]},
}


class BrokerError(Exception):
    """A broker that cannot be used; one line that says what was expected, what came and what to do."""


class _Context(ssl.SSLContext):
    """Reads certificate and key anew for each connection: they are renewed while it is in use."""

    pair: tuple[Path, Path] | None = None

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        if self.pair is not None:
            self.load_cert_chain(*self.pair)
        return super().wrap_socket(*args, **options)


class BrokerLine(Section):
    """Address and certificates of an MQTT v5 broker; paths are relative to the settings file."""

    url: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("url: expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
        if parts.password is not None or parts.username is not None:
            raise ValueError("url: expected no user and password in it; sign in with a certificate (cert, key)")
        if parts.scheme == "mqtts" and self.ca is None:
            raise ValueError("ca: expected the CA certificate beside an mqtts:// url, found none")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert, key: expected both or neither")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (8883 if parts.scheme == "mqtts" else 1883)

    def tls(self, folder: Path) -> ssl.SSLContext | None:
        """TLS for paho; None for a plain line. Raises OSError (of which ssl.SSLError is one) for unusable files."""
        if self.ca is None:
            return None
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(folder / self.ca))
        if self.cert is not None and self.key is not None:
            context.pair = folder / self.cert, folder / self.key
            context.load_cert_chain(*context.pair)
        return context


def mqtt_client(line: BrokerLine, folder: Path, client_id: str) -> mqtt.Client:
    """A client of MQTT v5, not connected yet; raises BrokerError for unusable certificates."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
    try:
        context = line.tls(folder)
    except (OSError, ValueError) as fault:
        raise BrokerError(
            f"{line.url}: expected certificates that can be read, got: {_words(fault)}; check ca, cert and key"
        ) from None
    if context is not None:
        client.tls_set_context(context)
    return client


def probe(line: BrokerLine, folder: Path, client_id: str) -> str:
    """Connect once and say who answered; raises BrokerError.

    Takes an id of its own, so that a running session is not disturbed. A broker that takes ids from certificates will
    disturb it all the same, for a moment: what waits in that session stays there.
    """
    host, port = line.address
    client = mqtt_client(line, folder, client_id)
    client.manual_ack_set(True)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives no types
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    answered = threading.Event()
    answer: list[ReasonCode] = []

    def on_connect(_client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        answer.append(code)
        answered.set()

    def on_disconnect(*_about: Any) -> None:
        answered.set()

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.connect_timeout = PROBE_S
    try:
        client.connect(host, port, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)
    except (OSError, ValueError) as fault:
        raise BrokerError(
            f"{host}:{port}: expected an MQTT broker, got: {_words(fault)}; is it running? check url, ca, cert and key"
        ) from None
    client.loop_start()
    try:
        if not answered.wait(PROBE_S):
            raise BrokerError(f"{host}:{port}: expected an MQTT v5 broker to answer within {PROBE_S:.0f} s; none did")
    finally:
        client.disconnect()
        client.loop_stop()
    if not answer:
        # with TLS 1.3 a certificate is refused after the handshake: the line just ends
        guess = (
            "was this certificate revoked, or is it another broker's?" if line.cert else "does it want a certificate?"
        )
        raise BrokerError(
            f"{host}:{port}: expected an MQTT broker to answer, it closed the line; {guess} check url, ca, cert and key"
        )
    if answer[0].is_failure:
        raise BrokerError(f"{host}:{port}: expected to be let in, the broker answered: {answer[0]}; check cert and key")
    return f"{host}:{port} answers"


def _words(fault: OSError | ValueError) -> str:
    return (fault.strerror if isinstance(fault, OSError) else None) or str(fault) or type(fault).__name__
