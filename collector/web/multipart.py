"""Forms with a file (RFC 7578), for browsers without a script: small enough to be read at once."""

from email.message import Message
from typing import Final

from fastapi import HTTPException, Request

KIND: Final = "multipart/form-data"
MOST_BYTES: Final = 8 * 2**20 + 65_536
"""A picture, and the little that comes with it."""


async def fields(request: Request) -> dict[str, bytes]:
    """Name and content of each field; raises HTTPException."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "需要注明长度 / expected a form with its length")
    if int(length) > MOST_BYTES:
        raise HTTPException(413, f"表单最大 {MOST_BYTES >> 20} MB / expected a form of at most {MOST_BYTES} bytes")
    return parse(request.headers.get("content-type", ""), await request.body())


def parse(kind: str, body: bytes) -> dict[str, bytes]:
    """Take a form apart; what is none has no fields."""
    boundary = _parameter(kind, "boundary")
    if not boundary:
        return {}
    found = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n") if blank else ():
            name, _, value = line.decode("utf-8", "replace").partition(":")
            if name.strip().lower() == "content-disposition":
                found[_parameter(value, "name")] = content
    return found


def _parameter(value: str, name: str) -> str:
    message = Message()
    message["content-type"] = " ".join(value.split())
    found = message.get_param(name, "")
    return found if isinstance(found, str) else ""
