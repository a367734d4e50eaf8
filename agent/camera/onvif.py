"""An ONVIF device asked for its clock, and for the addresses of its streams (Core 8.3.5; Media 5.2.2, 5.15.1).

What answers is anybody's: each reply is bounded, and what makes no sense is left out.
"""

import base64
import hashlib
import http.client
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

WEB_PORTS: Final = (80, 8000, 8080, 8899)
"""Where cameras serve it, and their web page."""
SILENT_S: Final = 3.0
MOST_BYTES: Final = 256 * 1024
MOST_LETTERS: Final = 500
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
    "<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
_DEVICE, _MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
_T: Final = "{http://www.onvif.org/ver10/schema}"
_SECURITY: Final = (
    '<w:Security xmlns:w="{oasis}wssecurity-secext-1.0.xsd"><w:UsernameToken><w:Username>{user}</w:Username>'
    '<w:Password Type="{oasis}username-token-profile-1.0#PasswordDigest">{digest}</w:Password>'
    "<w:Nonce>{nonce}</w:Nonce>"
    '<u:Created xmlns:u="{oasis}wssecurity-utility-1.0.xsd">{created}</u:Created></w:UsernameToken></w:Security>'
)
_OASIS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_PARTS: Final = ("Year", "Month", "Day", "Hour", "Minute", "Second")


def service_at(host: str, port: int) -> str:
    """Where a device answers that was not heard to say it (Core 5.1.1)."""
    return f"http://{host}:{port}/onvif/device_service"


def clock_s(service: str) -> float | None:
    """Seconds since the epoch on a device's clock, which it tells without a password; None where it does not."""
    told = _ask(service, f'<GetSystemDateAndTime xmlns="{_DEVICE}"/>').find(f".//{_T}UTCDateTime")
    try:
        values = [int(told.findtext(f".//{_T}{part}", "")) for part in _PARTS] if told is not None else []
        return datetime(*values, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]  # six numbers
    except (ValueError, TypeError, OverflowError):
        return None


def streams(service: str, user: str, password: str, now: Callable[[], float] = time.time) -> list[str]:
    """RTSP addresses of a device's first camera, the largest picture first, then the smallest; empty: it tells none.

    Args:
        service: http address of the device service, whose host counts: behind a router a device names another one.
        user: empty: it is asked without a login.
        password: goes out as a digest, with the time that the device has.
        now: seconds since the epoch.
    """
    its_s = clock_s(service)
    if its_s is None:
        return []
    ahead_s = its_s - now()

    def ask(at: str, body: str) -> ET.Element:
        return _ask(at, body, _login(user, password, now() + ahead_s) if user else "")

    told = ask(service, f'<GetCapabilities xmlns="{_DEVICE}"><Category>Media</Category></GetCapabilities>')
    media = _of_host(told.findtext(f".//{_T}Media/{_T}XAddr", ""), service, ("http",)) or service
    profiles: list[tuple[str, int, str]] = []
    for one in ask(media, f'<GetProfiles xmlns="{_MEDIA}"/>').iter(f"{{{_MEDIA}}}Profiles"):
        size = [one.findtext(f".//{_T}Resolution/{_T}{side}", "") for side in ("Width", "Height")]
        if one.findtext(f".//{_T}Encoding", "") != "JPEG" and all(side.isascii() and side.isdigit() for side in size):
            source = one.findtext(f".//{_T}VideoSourceConfiguration/{_T}SourceToken", "")
            profiles.append((source, int(size[0][:5]) * int(size[1][:5]), one.get("token", "")))
    mine = sorted((one for one in profiles if one[0] == profiles[0][0]), key=lambda one: -one[1])
    setup = '<StreamSetup><Stream xmlns="{0}">RTP-Unicast</Stream><Transport xmlns="{0}"><Protocol>RTSP</Protocol>'
    setup = setup.format(_T[1:-1]) + "</Transport></StreamSetup>"
    found = []
    for _, _, token in [*mine[:1], *(one for one in mine[-1:] if one[1] < mine[0][1])]:
        asked = f'<GetStreamUri xmlns="{_MEDIA}">{setup}<ProfileToken>{escape(token)}</ProfileToken></GetStreamUri>'
        found.append(_of_host(ask(media, asked).findtext(f".//{_T}Uri", ""), service, ("rtsp", "rtsps")))
    return [one for one in found if one] if found[:1] != [""] else []


def _login(user: str, password: str, at_s: float) -> str:
    """WS-UsernameToken, its password as a digest (Web Services Security UsernameToken Profile 1.0, 3.1)."""
    nonce, created = secrets.token_bytes(16), datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + created.encode() + password.encode()).digest()  # noqa: S324 - as the standard has it
    told = {"digest": base64.b64encode(digest).decode(), "nonce": base64.b64encode(nonce).decode()}
    return _SECURITY.format(oasis=_OASIS, user=escape(user), created=created, **told)


def _of_host(address: str, service: str, schemes: tuple[str, ...]) -> str:
    """What a device said, at the host where it was asked and without a login; empty for what is no such address."""
    try:
        parts = urlsplit(address.strip())
        port = f":{parts.port}" if parts.port else ""
        made = parts._replace(netloc=f"{urlsplit(service).hostname}{port}").geturl()
    except ValueError:
        return ""
    good = parts.scheme in schemes and parts.hostname and made.isprintable() and " " not in made
    return made if good and len(made) <= MOST_LETTERS else ""


def _ask(service: str, body: str, header: str = "") -> ET.Element:
    """What a device answers, its faults as well; an empty element for what makes no sense."""
    try:
        parts = urlsplit(service)
        line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=SILENT_S)
        try:
            sent = _ENVELOPE.format(header=header, body=body).encode()
            line.request("POST", parts.path or "/", sent, {"content-type": "application/soap+xml; charset=utf-8"})
            told = line.getresponse().read(MOST_BYTES)
        finally:
            line.close()
        if b"<!DOCTYPE" not in told and b"<!ENTITY" not in told:
            return ET.fromstring(told)  # noqa: S314 - bounded, and no entities
    except (OSError, http.client.HTTPException, ET.ParseError, ValueError, LookupError):
        pass
    return ET.Element("nothing")
