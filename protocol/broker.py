"""Where the broker is, and how either side proves to it who it is."""

import ssl
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from protocol.documents import Section

MAX_PACKET_BYTES: Final = 1024 * 1024
KEEPALIVE_S: Final = 20


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
        context = ssl.create_default_context(cafile=str(folder / self.ca))
        if self.cert is not None and self.key is not None:
            context.load_cert_chain(folder / self.cert, folder / self.key)
        return context


def line_fault(fault: OSError | ValueError) -> str:
    """What was wrong with a line, in a few words."""
    return (fault.strerror if isinstance(fault, OSError) else None) or str(fault) or type(fault).__name__
