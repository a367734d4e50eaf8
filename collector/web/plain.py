"""What no call takes, whatever it is about: text that no database keeps, numbers that no column holds."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import HTTPException, Request
from pydantic import Field

MOST: Final = 2**53
"""Beyond that JSON's readers do not agree on a number any more, and 64 bits end not far."""
Number = Annotated[int, Field(gt=-MOST, lt=MOST)]
"""A whole number in an address or a body."""


async def plain(request: Request) -> None:
    """Refuse a NUL character, half a pair of surrogates and a number beyond all columns, before anything is done."""
    if any("\x00" in value for value in request.path_params.values() if isinstance(value, str)):
        raise HTTPException(404, "没有这个地址 / there is no such address")
    for name, value in request.query_params.multi_items():
        if "\x00" in name or "\x00" in value:
            raise HTTPException(422, "参数含有不可用的字符 / expected text without NUL in the query")
    # FastAPI has parsed a body of JSON by now; others are read by their own routes
    for name, value in _leaves(getattr(request, "_json", None)):
        fault = _fault(value)
        if fault:
            text = f"{name or 'body'}: {fault}, got {value!a:.60}"
            raise HTTPException(422, f"请求含有不可用的字符或数字：{name or 'body'} / {text}")


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """All values of a document with the name that each stands under, and all names; its depth is whatever came."""
    waiting = [("", value)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(f"{key!a:.60}".strip("'"), inner) for key, inner in one.items()]
            waiting += [(name, key) for key in one]
        elif isinstance(one, list):
            waiting += [(name, inner) for inner in one]
        else:
            yield name, one


def _fault(value: object) -> str:
    if isinstance(value, str):
        if "\x00" in value:
            return "expected text without NUL"
        if any("\ud800" <= one <= "\udfff" for one in value):
            return "expected text in Unicode without half a pair of surrogates"
    elif isinstance(value, float) and value - value != 0:
        return "expected a number that JSON has"
    elif isinstance(value, int) and abs(value) >= 2**63:
        return "expected a number of at most 64 bits"
    return ""
