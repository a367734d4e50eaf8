"""The services that carry the center's messages: Aliyun's SMS, a voice gateway, and the robots of four groups.

Each reads what came as the real one does (signature, time, rate), then takes it or not, and answers, or breaks off.
What was taken is carried to its recipient whatever the answer said. Luck goes by what a message is, so that the order
in which threads send changes nothing.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from collector.notices import signing
from collector.notices.settings import NoticesSection
from tests.collector.notices.servers import Got, Say, Service

KEYS = {"key": "LTAI-key", "secret": "s3cret-value", "ding": "SEC-ding", "fei": "fei-secret"}
GROUPS = {"officer": "dingtalk", "community": "wecom", "operator": "feishu", "room": "feishu"}
KINDS = (
    *("alert", "task", "to_dispatch", "rework", "appeal", "unreviewed", "undelivered", "unseen", "taken_over"),
    *("objection", "overdue", "escalated"),
)
TAG = re.compile(r"\[(\w+)\] #(\d+) \((\w*)\)")
CLOCK_S = 900.0
"""How far a signature's time may be off."""
ROBOT_A_MINUTE = 20
HANG = 40
"""Which SMS gets no answer at all; the real clock has to wait for that one."""
TIMEOUT_S = 5.0
HALF = Say({"errcode": 0, "code": 0, "Code": "OK"}, how="half")
BROKEN: dict[str, Say] = {
    "half": HALF,
    "cut": Say(how="cut"),
    "hang": Say(how="hang", wait_s=TIMEOUT_S + 1),
    "http_500": Say("sorry", 500),
}


@dataclass(frozen=True)
class Letter:
    """One notice as a channel got it, alone or in a digest.

    Args:
        at_s: when, by the true clock.
        to: telephone number; empty for groups.
        request: id of the try, where the channel passes it on.
        taken: it is carried on.
        read_s: when its recipient has it; None: never.
        said: what was answered.
    """

    at_s: float
    channel: str
    audience: str
    kind: str
    ticket: int
    level: str
    to: str
    request: str
    taken: bool
    read_s: float | None
    said: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What it is, whoever carries it."""
        return (self.audience, self.kind, self.ticket, self.level)


@dataclass(frozen=True)
class Slip:
    """What became of an SMS: `status` as Aliyun says it (1 on its way, 2 not delivered, 3 delivered) from `at_s` on."""

    at_s: float
    status: int


class Line(Service):
    """All of them, on one port.

    Args:
        now: the true clock, in seconds.
        seed: of luck.
    """

    def __init__(self, now: Callable[[], float], seed: int) -> None:
        self.now, self.seed = now, seed
        self.letters: list[Letter] = []
        self.wrong: list[str] = []
        self.tries: Counter[object] = Counter()
        self.slips: dict[str, Slip] = {}
        self.recent: dict[str, deque[float]] = {}
        super().__init__()

    def settings(self, folder: Path) -> NoticesSection:
        """Channels, routes and texts that lead here; writes the secrets into the folder."""
        for name, value in KEYS.items():
            (folder / name).write_text(value)
        robots = []
        for audience, kind in GROUPS.items():
            (folder / f"hook-{audience}").write_text(f"{self.url}/robot/{audience}?access_token=t0ken-{audience}")
            robot = {
                "id": f"group-{audience}",
                "type": kind,
                "webhook": f"file:hook-{audience}",
                "timeout_s": TIMEOUT_S,
            }
            robots.append(robot | {"dingtalk": {"secret": "file:ding"}, "feishu": {"secret": "file:fei"}}.get(kind, {}))
        variables = [{"name": name, "value": f"{{{name}}}"} for name in ("ticket", "minutes", "objection")]
        templates = [{"kind": kind, "code": kind, "variable": variables} for kind in ("shop_notice", "shop_reminder")]
        account = {"key_id": "file:key", "key_secret": "file:secret", "sign": "小河街道", "template": templates}
        sms = {"id": "sms", "type": "aliyun_sms", "url": self.url, "timeout_s": TIMEOUT_S, **account}
        body = {name: f"{{{name}}}" for name in ("to", "kind", "ticket", "request", "objection")}
        voice = {
            "id": "voice",
            "type": "http",
            "url": f"{self.url}/voice",
            "body": json.dumps(body),
            "success": {"path": "code", "equals": ["0"]},
            "later": {"path": "code", "equals": ["7"]},
            "timeout_s": TIMEOUT_S,
        }
        tagged = [(kind, f"[{kind}] {{ref}} ({{level}}) {{rule}} {{shop}} {{place}} {{until}}") for kind in KINDS]
        return NoticesSection.model_validate(
            {
                "channel": [sms, voice, *robots],
                "route": [{"audience": "shop", "channels": ["sms", "voice"]}]
                + [{"audience": audience, "channels": [f"group-{audience}"]} for audience in GROUPS],
                "text": [{"kind": kind, "subject": text, "body": text} for kind, text in tagged],
                "contact": "0571-88001234",
            }
        )

    def choose(self, got: Got) -> Say:
        """Take a message or not, and answer."""
        path = urlsplit(got.path).path
        if path.startswith("/robot/"):
            return self.robot(path.removeprefix("/robot/"), got)
        if path == "/voice":
            return self.voice(got)
        if got.headers["x-acs-action"] == "QuerySendDetails":
            return self.details(got)
        return self.sms(got)

    # what each does

    def sms(self, got: Got) -> Say:
        query = got.query
        signed = {name: text for name, text in got.headers.items() if name.startswith("x-acs-") or name == "host"}
        if got.headers["authorization"] != signing.aliyun(KEYS["key"], KEYS["secret"], query, signed)[1]:
            return self.refuse("sms: signature", Say({"Code": "SignatureDoesNotMatch"}, 400))
        if self.off(datetime.strptime(signed["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()):
            return self.refuse("sms: its time is off", Say({"Code": "InvalidTimeStamp.Expired"}, 400))
        values = json.loads(query["TemplateParam"])
        key = ("sms", query["TemplateCode"], int(values["ticket"]))
        chance = self.luck(key)
        biz = "-".join(map(str, (*key, self.tries[key])))
        ways = [(0.02, "isv.BUSINESS_LIMIT_CONTROL"), (0.03, "isv.MOBILE_NUMBER_ILLEGAL"), (0.035, "http_500")]
        said = _drawn(chance, [*ways, (0.042, "half"), (0.05, "cut")], "OK")
        if self.tries["sms"] == HANG:
            said = "hang"
        self.tries["sms"] += 1
        taken = said in ("OK", "half") or (said in ("cut", "hang") and chance.random() < 0.5)
        luck, after_s = chance.random(), chance.uniform(3, 50)
        self.slips[biz] = Slip(self.now() + after_s, 3 if luck < 0.94 else 2 if luck < 0.98 else 1)
        read_s = self.now() + after_s if taken and luck < 0.94 else None
        self.note(
            "sms", "shop", key[1], key[2], "", to=query["PhoneNumbers"], request=query["OutId"], taken=taken,
            read_s=read_s, said=said,
        )  # fmt: skip
        return BROKEN.get(said) or Say({"Code": said, "Message": said, **({"BizId": biz} if said == "OK" else {})})

    def details(self, got: Got) -> Say:
        slip = self.slips[got.query["BizId"]]
        status = slip.status if self.now() >= slip.at_s else 1
        detail = {"SendStatus": status, "ErrCode": "DELIVERED" if status == 3 else "MN:0001" if status == 2 else ""}
        return Say({"Code": "OK", "SmsSendDetailDTOs": {"SmsSendDetailDTO": [detail]}})

    def voice(self, got: Got) -> Say:
        asked = got.json
        chance = self.luck(("voice", asked["kind"], asked["ticket"]))
        said = _drawn(chance, [(0.05, "7"), (0.1, "21"), (0.12, "cut")], "0")
        taken = said == "0" or (said == "cut" and chance.random() < 0.5)
        self.note(
            "voice", "shop", asked["kind"], int(asked["ticket"]), "", to=asked["to"], request=asked["request"],
            taken=taken, read_s=self.now() + 20 if taken else None, said=said,
        )  # fmt: skip
        return BROKEN.get(said) or Say({"code": int(said)})

    def robot(self, audience: str, got: Got) -> Say:
        kind, body = GROUPS[audience], got.json
        if kind == "dingtalk":
            at_ms = int(got.query["timestamp"])
            if got.query["sign"] != signing.dingtalk(KEYS["ding"], at_ms) or self.off(at_ms / 1000):
                return self.refuse("dingtalk: signature or time", Say({"errcode": 310000, "errmsg": "sign not match"}))
        if kind == "feishu":
            at_s = int(body["timestamp"])
            if body["sign"] != signing.feishu(KEYS["fei"], at_s) or self.off(at_s):
                return self.refuse("feishu: signature or time", Say({"code": 19021, "msg": "sign match fail"}))
        text = (body["content"] if kind == "feishu" else body["text"])["text" if kind == "feishu" else "content"]
        found = TAG.findall(text)
        if not found:
            self.wrong.append(f"{audience}: nothing can be read from {text!r}")
        recent = self.recent.setdefault(audience, deque())
        while recent and recent[0] <= self.now() - 60:
            recent.popleft()
        recent.append(self.now())
        if len(recent) > ROBOT_A_MINUTE:
            self.wrong.append(f"{audience}: {len(recent)} messages in a minute")
        chance = self.luck((audience, *found))
        said = _drawn(chance, [(0.02, "busy"), (0.03, "http_500"), (0.035, "half"), (0.04, "cut")], "ok")
        taken = said in ("ok", "half") or (said == "cut" and chance.random() < 0.5)
        for name, ticket, level in found:
            self.note(
                f"group-{audience}", audience, name, int(ticket), level if name in ("overdue", "escalated") else "",
                taken=taken, read_s=self.now() if taken else None, said=said,
            )  # fmt: skip
        busy = {"dingtalk": 130101, "wecom": 45009, "feishu": 11232}[kind]
        answer: dict[str, Any] = {"code" if kind == "feishu" else "errcode": busy if said == "busy" else 0}
        return BROKEN.get(said) or Say(answer)

    # and all do

    def off(self, at_s: float) -> bool:
        return abs(at_s - self.now()) > CLOCK_S

    def refuse(self, what: str, say: Say) -> Say:
        self.wrong.append(what)
        return say

    def luck(self, key: tuple[object, ...]) -> Random:
        """Of one message; another try has other luck."""
        self.tries[key] += 1
        return Random(f"{self.seed} {key} {self.tries[key]}")

    def note(
        self, channel: str, audience: str, kind: str, ticket: int, level: str, *, taken: bool, read_s: float | None,
        said: str, to: str = "", request: str = "",
    ) -> None:  # fmt: skip
        self.letters.append(
            Letter(self.now(), channel, audience, kind, ticket, level, to, request, taken, read_s, said)
        )


def _drawn(chance: Random, ways: list[tuple[float, str]], else_: str) -> str:
    """One of the ways, each up to its share."""
    drawn = chance.random()
    return next((name for share, name in ways if drawn < share), else_)
