"""Chat robots: DingTalk, WeCom, Feishu. Each answers 200 and says in the body what it thinks.

Their webhook is itself a secret: whoever has it can write to the group.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field

from collector.notices.channels.answers import read
from collector.notices.http import Line, call
from collector.notices.messages import ChannelBase, Message, Tools
from collector.notices.outcomes import Report, short
from collector.notices.secrets import SecretError, SecretName
from collector.notices.signing import dingtalk, feishu

PER_MINUTE: Final = 18
"""All three close at 20 a minute; DingTalk then stays closed for ten."""
CONTENT_BYTES: Final = 18_000
"""DingTalk and Feishu take 20,000 bytes in all."""
WECOM_BYTES: Final = 2_000
"""Of 2,048 (https://developer.work.weixin.qq.com/document/path/91770)."""


class _Robot(ChannelBase):
    """What the three have."""

    digest: ClassVar[tuple[int, int] | None] = (60, CONTENT_BYTES)

    webhook: SecretName = Field(description="the whole address of the robot, as its group shows it")
    keyword: str = Field(default="", max_length=40, description="a word that the robot wants in each message")
    per_minute: int | None = Field(default=PER_MINUTE, ge=1, le=20)
    tries: int = Field(default=6, ge=1, le=20)
    when_unsure: Literal["person", "next"] = "next"

    def _text(self, message: Message) -> str:
        text = message.body
        if self.keyword and self.keyword not in text:
            text = f"{self.keyword} {text}"
        content, most = text.encode(), (self.digest or (0, WECOM_BYTES))[1]
        return text if len(content) <= most else f"{content[: most - 3].decode('utf-8', 'ignore')}…"

    def _post(self, tools: Tools, body: Mapping[str, Any], more: str = "") -> Mapping[str, Any] | Report:
        url = tools.secrets.get(self.webhook)
        if not url.startswith(("https://", "http://")):
            raise SecretError(f"{self.webhook}: expected the address of the robot, https://…")
        # some answers repeat the part of it that is the key
        parts = urlsplit(url)
        for key in (parts.path.rpartition("/")[2], *(value for _, value in parse_qsl(parts.query))):
            tools.secrets.hide(key)
        content = json.dumps(body, ensure_ascii=False).encode()
        line = Line(self.timeout_s, tools.line.proxy, tools.line.ca)
        return read(
            call(line, "POST", f"{url}{more}", {"content-type": "application/json; charset=utf-8"}, content),
            errors_too=True,
        )


def _by_code(
    found: Mapping[str, Any] | Report, names: tuple[str, ...], text_names: tuple[str, ...], later: Mapping[int, float]
) -> Report:
    """Read the first of several names for the code; anything but 0 is a refusal."""
    if isinstance(found, Report):
        return found
    code = next((found[name] for name in names if name in found), None)
    if not isinstance(code, int) or isinstance(code, bool):
        return Report("unsure", "no_code", f"expected {names[0]} in the answer, got {short(json.dumps(found))}")
    if code == 0:
        return Report("accepted", "0")
    text = short(next((found[name] for name in text_names if name in found), ""))
    if code in later:
        return Report("later", str(code), text, after_s=later[code])
    return Report("refused", str(code), text)


class DingTalk(_Robot):
    """A robot of a DingTalk group (自定义机器人), with its `加签` secret where it has one."""

    type: Literal["dingtalk"]
    secret: SecretName | None = None

    def send(self, message: Message, tools: Tools) -> Report:
        """Write to the group."""
        more = ""
        if self.secret is not None:
            at_ms = round(tools.now() * 1000)
            sign = quote(dingtalk(tools.secrets.get(self.secret), at_ms), safe="")
            more = f"&timestamp={at_ms}&sign={sign}"
        body = {"msgtype": "text", "text": {"content": self._text(message)}}
        # 130101 and 660026: too fast, closed for ten minutes; -1: busy
        later = {130101: 600.0, 660026: 600.0, 410100: 600.0, -1: 5.0}
        return _by_code(self._post(tools, body, more), ("errcode",), ("errmsg",), later)


class WeCom(_Robot):
    """A robot of a WeCom group (群机器人)."""

    digest: ClassVar[tuple[int, int] | None] = (20, WECOM_BYTES)

    type: Literal["wecom"]

    def send(self, message: Message, tools: Tools) -> Report:
        """Write to the group."""
        body = {"msgtype": "text", "text": {"content": self._text(message)}}
        # 45009 and 45033: too fast; -1: busy (https://developer.work.weixin.qq.com/document/path/90313)
        return _by_code(self._post(tools, body), ("errcode",), ("errmsg",), {45009: 60.0, 45033: 10.0, -1: 5.0})


class Feishu(_Robot):
    """A robot of a Feishu group, with its signature secret where it has one."""

    type: Literal["feishu"]
    secret: SecretName | None = None

    def send(self, message: Message, tools: Tools) -> Report:
        """Write to the group."""
        body: dict[str, Any] = {"msg_type": "text", "content": {"text": self._text(message)}}
        if self.secret is not None:
            at_s = int(tools.now())
            body = {"timestamp": str(at_s), "sign": feishu(tools.secrets.get(self.secret), at_s), **body}
        # 11232 and 99991400: too fast; 9499 is "too many requests" or a bad body, which its text tells
        found = self._post(tools, body)
        if isinstance(found, Mapping) and found.get("code") == 9499 and "many" in str(found.get("msg", "")).lower():
            return Report("later", "9499", short(found.get("msg")), after_s=60)
        return _by_code(found, ("code", "StatusCode"), ("msg", "StatusMessage"), {11232: 60.0, 99991400: 60.0})
