"""What a refusal says to a program: always `code`, `detail` in English and `detail_zh`."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

CODES: Final = {
    400: "invalid",
    401: "sign_in",
    403: "not_yours",
    404: "unknown",
    405: "unknown_method",
    409: "not_now",
    411: "invalid",
    413: "too_big",
    415: "invalid",
    422: "invalid",
    429: "too_many",
    503: "busy",
}
"""By status, where whoever refuses has no nearer word."""
WORDS: Final = {
    "invalid": "请求有误",
    "sign_in": "请先登录",
    "not_yours": "无此权限",
    "unknown": "没有找到",
    "unknown_method": "不支持此方法",
    "not_now": "目前不能这样做",
    "changed": "已被他人更改",
    "too_big": "内容过大",
    "too_many": "过于频繁",
    "busy": "系统繁忙，请稍后再试",
}
LONGEST: Final = 1000


def refusal(
    status: int, text: str, *, code: str = "", zh: str = "", headers: Any = None, more: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The answer; a text in both languages, `zh / en`, is taken apart."""
    code = code or CODES.get(status, "refused")
    first, slash, rest = text.partition(" / ")
    if not zh and slash and not first.isascii():
        zh, text = first, rest
    known = WORDS.get(code, code)
    body = {"code": code, "detail": text, "detail_zh": zh or f"{known}：{text}", **(more or {})}
    return JSONResponse(body, status, headers=headers)


def misread(fault: RequestValidationError, more: Mapping[str, Any]) -> JSONResponse:
    """Of a request whose shape is wrong; `errors` says where, one by one, and repeats nothing of what came."""
    errors = [
        {"loc": [_shown(part) for part in one["loc"]], "msg": one["msg"], "type": one["type"]} for one in fault.errors()
    ]
    text = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors)
    return refusal(422, text[:LONGEST], zh=f"请求有误：{text}"[:LONGEST], more={"errors": errors, **more})


def _shown(part: object) -> object:
    return part if isinstance(part, int) else str(part).encode("utf-8", "backslashreplace").decode()[:100]
