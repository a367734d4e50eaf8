"""The card: `cityeye.toml` on a box's boot partition, written by a program or by hand on any laptop.

What comes in are bytes as an editor left them; what goes out are the sections that can be used, and a fault for each
thing that cannot: where it stands, what was expected, what came, what to do, in Chinese and English.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise
from typing import Annotated, Any, Final, NamedTuple, Self, get_args

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from protocol.documents import Section, TimeZoneName
from protocol.enrolment import Invitation, matches, read_claim, read_fingerprint, read_url
from protocol.ids import Slug, is_slug

MAX_BYTES: Final = 64 * 1024


class Words(NamedTuple):
    """The same in both languages."""

    zh: str
    en: str


@dataclass(frozen=True)
class Fault:
    """One thing that cannot be used; holds no secret.

    Args:
        place: `[section] key`, or empty.
        line: of the file, from 1.
    """

    place: str
    line: int | None
    expected: Words
    came: Words
    todo: Words

    def text(self, language: str) -> str:
        """One line, in `zh` or `en`."""
        n = ("zh", "en").index(language)
        expected, came, todo = self.expected[n], self.came[n], self.todo[n]
        if language == "zh":
            where = f"第 {self.line} 行 {self.place}".rstrip() if self.line else self.place or "cityeye.toml"
            return f"{where}：应为：{expected}；现为：{came}。{todo}"
        where = ", ".join(filter(None, (f"line {self.line}" if self.line else "", self.place))) or "cityeye.toml"
        return f"{where}: expected {expected}, got {came}; {todo}"

    def values(self) -> dict[str, Any]:
        """As JSON."""
        return {language: self.text(language) for language in Words._fields}


def _listed(value: Any) -> Any:
    return re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value


def _wrong(code: str, key: str = "") -> PydanticCustomError:
    return PydanticCustomError(code, code, {"key": key})  # type: ignore[arg-type, unused-ignore]  # a sentence


def _interface(text: str) -> str:
    found = IPv4Interface(text)
    inside = found.network
    edges = (inside.network_address, inside.broadcast_address) if inside.prefixlen < 31 else ()
    if "/" not in text or inside.prefixlen == 0 or found.is_multicast or found.is_loopback or found.ip in edges:
        raise ValueError
    return str(found)


def _label(text: str) -> str:
    found = Invitation.read(text)
    if found.box is not None and not is_slug(found.box):
        raise ValueError
    return str(found)


def _public(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise _wrong("private")
    return text


def _ca(text: str) -> str:
    x509.load_pem_x509_certificate(text.encode("ascii"))
    return text


def _ssid(text: str) -> str:
    if len(text.encode()) > 32:
        raise ValueError
    return text


Ip = Annotated[str, AfterValidator(lambda text: str(IPv4Address(text)))]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$")]
Line = Annotated[str, Field(pattern=r"^\P{C}{0,64}$")]
PublicKey = Annotated[
    str,
    AfterValidator(_public),
    Field(pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-\S+) AAAA[A-Za-z0-9+/]{40,}={0,2}( \P{C}*)?$"),
]


class ClaimSection(Section):
    """By what the box becomes its center's; `label`, or the parts of it."""

    label: Annotated[str, AfterValidator(_label)] | None = None
    url: Annotated[str, AfterValidator(read_url)] | None = None
    code: Annotated[str, AfterValidator(read_claim)] | None = None
    ca: Annotated[str, AfterValidator(read_fingerprint)] | None = None
    box: Slug | None = None

    @model_validator(mode="after")
    def _label_or_parts(self) -> Self:
        if self.label and (self.url or self.code or self.ca or self.box):
            raise _wrong("both", "label")
        return self


class CenterSection(Section):
    """Of the center."""

    ca: Annotated[str, AfterValidator(_public), AfterValidator(_ca)] | None = None


class BoxSection(Section):
    """Shown only; enrolment decides."""

    site: Slug | None = None


class NetworkSection(Section):
    """The cable; nothing: DHCP."""

    address: Annotated[str, AfterValidator(_interface)] | None = None
    gateway: Ip | None = None
    dns: Annotated[tuple[Ip, ...], Field(max_length=6), BeforeValidator(_listed)] = ()
    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    mtu: int | None = Field(default=None, ge=1280, le=9216, strict=True)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.gateway is not None:
            own = self.address and IPv4Interface(self.address)
            if not own or IPv4Address(self.gateway) not in own.network or self.gateway == str(own.ip):
                raise _wrong("outside", "gateway")
        return self


class WifiSection(Section):
    """A wireless network."""

    ssid: Annotated[str, Field(pattern=r"^\P{C}+$"), AfterValidator(_ssid)]
    password: Annotated[str, Field(pattern=r"^([ -~]{8,63}|[0-9A-Fa-f]{64})$")] | None = None
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "CN"


class ModemSection(Section):
    """A modem for 4G or 5G."""

    apn: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
    pin: Annotated[str, Field(pattern=r"^([0-9]{4,8})?$")] = ""
    user: Line = ""
    password: Line = ""


class TimeSection(Section):
    """Where the time comes from, and which one people read."""

    servers: Annotated[tuple[Host, ...], Field(max_length=8), BeforeValidator(_listed)] = ()
    zone: TimeZoneName | None = None


class SshSection(Section):
    """Who may log in."""

    keys: tuple[PublicKey, ...] = Field(default=(), max_length=32)


class Card(Section):
    """The whole of it; a section that is not there, or has a fault, is empty."""

    claim: ClaimSection = ClaimSection()
    center: CenterSection = CenterSection()
    box: BoxSection = BoxSection()
    network: NetworkSection = NetworkSection()
    wifi: WifiSection | None = None
    modem: ModemSection | None = None
    time: TimeSection = TimeSection()
    ssh: SshSection = SshSection()

    @model_validator(mode="after")
    def _one_center(self) -> Self:
        claim, own = self.claim, self._fingerprint()
        pinned = Invitation.read(claim.label).fingerprint if claim.label else claim.ca
        parts = {"url": claim.url, "code": claim.code, "ca": pinned or own}
        lacking = [name for name, value in parts.items() if value is None]
        if lacking and not claim.label and (claim.url or claim.code or claim.ca or claim.box):
            raise _wrong("lacking", f"claim.{lacking[0]}")
        if own and pinned and not matches(pinned, own):
            raise _wrong("other_ca", "center.ca")
        return self

    def _fingerprint(self) -> str | None:
        if self.center.ca is None:
            return None
        return x509.load_pem_x509_certificate(self.center.ca.encode()).fingerprint(SHA256()).hex()

    @property
    def invitation(self) -> Invitation | None:
        """What the box takes to its center; None: the card says nothing of it."""
        claim, fingerprint = self.claim, self.claim.ca or self._fingerprint()
        if claim.label:
            return Invitation.read(claim.label)
        if claim.url is None or claim.code is None or fingerprint is None:
            return None
        return Invitation(claim.url, claim.code, fingerprint, claim.box)


SECTIONS: Final[dict[str, type[Section]]] = {
    name: (get_args(one.annotation) or (one.annotation,))[0] for name, one in Card.model_fields.items()
}
SHOWN: Final = {"box", "network", "time"}
"""Sections that are quoted; a code may stand in the wrong line, a private key in the place of a public one."""

SAID: Final = {
    key: Words(zh, en)
    for key, zh, en in (
        line.split(" | ")
        for line in """\
claim.label | 认领标签二维码的全部文字 "https://…#claim=…&ca=…" | all that the label's QR code says: "https://…#claim=…&ca=…"
claim.url | 标签上的中心地址 "https://center.example:8884/" | the center's address on the label: "https://center.example:8884/"
claim.code | 标签上的 18 位认领码 | the label's claim code, 18 letters and digits
claim.ca | 标签上的指纹 "sha256:…" | the label's fingerprint "sha256:…"
claim.box | 小写字母、数字和连字符，例如 "xiaohe-0001" | lower-case letters, digits and hyphens: "xiaohe-0001"
center.ca | 中心的 CA 证书（PEM，用三个双引号括起） | the center's CA certificate, PEM, within three quotes
box.site | 小写字母、数字和连字符，例如 "xiaohe" | lower-case letters, digits and hyphens: "xiaohe"
network.address | 本机地址加前缀长度，例如 "10.1.2.3/24" | this box's own address with its prefix: "10.1.2.3/24"
network.gateway | 与 address 同一网段的网关，例如 "10.1.2.1" | the gateway within the network of address: "10.1.2.1"
network.dns | 一至六个地址，例如 ["10.1.2.1"] | up to six addresses: ["10.1.2.1"]
network.vlan | 1 至 4094 的整数，不加引号 | a whole number from 1 to 4094, without quotes
network.mtu | 1280 至 9216 的整数，不加引号 | a whole number from 1280 to 9216, without quotes
wifi.ssid | Wi-Fi 名称，1 至 32 字节（汉字占 3 字节） | the network's name, 1 to 32 bytes
wifi.password | 8 至 63 个英文字符 | 8 to 63 plain characters
wifi.country | 两个字母的国家代码 "CN" | two letters: "CN"
modem.apn | 运营商的接入点，例如 "cmnet" | the operator's access point, such as "cmnet"
modem.pin | SIM 卡的 4 至 8 位 PIN 码，例如 "1234" | the SIM's PIN, 4 to 8 digits: "1234"
modem.user | 不超过 64 个字的一行文字 | a line of at most 64 characters
modem.password | 不超过 64 个字的一行文字 | a line of at most 64 characters
time.servers | 时间服务器，例如 ["ntp.aliyun.com"] | time servers: ["ntp.aliyun.com"]
time.zone | 时区，例如 "Asia/Shanghai" | a time zone such as "Asia/Shanghai"
ssh.keys | 公钥，例如 ["ssh-ed25519 AAAA… 姓名"] | public keys: ["ssh-ed25519 AAAA… name"]
correct | 请对照标签、样例或网管给的数据改正 | correct it by the label, the example or the network's keeper
missing | 请补上这一行 | add this line
outside | 请核对 address、前缀长度和 gateway | compare address, prefix and gateway
both | label 和其余各项只留一种 | keep either the label or its parts
lacking | 请补上，或改用 label 一项 | add it, or give the label alone
other_ca | 证书不是标签上那个中心的：请向中心要证书，或删去 [center] | another center's; take [center] out
private | 这是私钥，绝不能放在这里：请换成公钥或证书 | this is a private key: take the public one
near | 是不是 {0}？ | did you mean {0}?
move | 请移到 [{0}] 下面 | move it below [{0}]
one_of | {0} 之一 | one of {0}
as_is | {0} | {0}
none | 没有 | none
hidden | 不显示的内容 | what is not shown
text | 不超过 64 KB 的文本（UTF-8） | a text of at most 64 KB in UTF-8
other_file | 别的文件，或太大 | another file, or a larger one
save | 请用记事本另存为 UTF-8 | save it as UTF-8 again
syntax | 名称 = "值"，每项只写一次，注释以 # 开头 | lines such as name = "value", each once, comments after #
nonsense | 读不懂的一行 | a line that makes no sense
quotes | 请用英文双引号把值括起 | put the value into plain double quotes
open_quotes | 请补上三个双引号 | end it with three quotes
twice | 请合并或删去重复的 | put both into one""".splitlines()
    )
}
"""What is expected of a value, by its name; then what to do and what came, by what is wrong."""
_HEADER: Final = re.compile(r"\s*\[\s*([\w-]+)\s*\]\s*(#.*)?")
_KEY: Final = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


def read_card(content: bytes) -> tuple[Card, tuple[Fault, ...]]:
    """Read a card; what cannot be used of it is left out and is a fault. Never raises."""
    try:
        lines = decoded(content).split("\n")
    except ValueError:
        return Card(), (Fault("", None, SAID["text"], SAID["other_file"], SAID["save"]),)
    tables, faults = _tables(lines)
    lines_of = _lines_of(lines)
    sections: dict[str, Section] = {}

    def told(section: str, key: str, todo: Words, came: Words | None = None, expected: Words | None = None) -> None:
        place = " ".join(filter(None, (section and f"[{_short(section)}]", _short(key))))
        line = lines_of.get((section, key), lines_of.get((section, "")))
        came, expected = came or _came(tables, section, key), expected or SAID[f"{section}.{key}"]
        faults.append(Fault(place, line, expected, came, todo))

    for name, table in tables.items():
        if name not in SECTIONS or not isinstance(table, dict):
            homes = [section for section, one in SECTIONS.items() if name in one.model_fields]
            section, key = (name, "") if isinstance(table, dict) else ("", name)
            todo = _say("move", homes[-1]) if homes and key else _say("near", f"[{_nearest(name, SECTIONS)}]")
            known = _say("one_of", ", ".join(f"[{one}]" for one in SECTIONS))
            told(section, key, todo, _say("as_is", _short(name)), known)
            continue
        fields = SECTIONS[name].model_fields
        unknown = table.keys() - fields.keys()
        for key in sorted(unknown):
            known = _say("one_of", ", ".join(fields))
            told(name, key, _say("near", _nearest(key, fields)), _say("as_is", _short(key)), known)
        try:
            found = SECTIONS[name].model_validate({key: value for key, value in table.items() if key in fields})
        except ValidationError as fault:
            wrong = {str(one["loc"][0] if one["loc"] else one["ctx"]["key"]): one["type"] for one in fault.errors()}
            for key, why in wrong.items():
                told(name, key, SAID.get(why, SAID["correct"]))
        else:
            sections |= {} if unknown else {name: found}
    try:
        card = Card(**sections)  # type: ignore[arg-type]  # each is of its name's class
    except ValidationError as fault:
        (one,) = fault.errors()
        section, _, key = one["ctx"]["key"].partition(".")
        told(section, key, SAID[one["type"]])
        card = Card(**sections | {"claim": ClaimSection(), "center": CenterSection()})  # type: ignore[arg-type]
    return card, tuple(sorted(faults, key=lambda one: one.line or 0))


def _say(key: str, value: str) -> Words:
    return Words(*(text.format(value) for text in SAID[key]))


def decoded(content: bytes) -> str:
    """The text of a file as an editor left it; raises ValueError for what is none."""
    if len(content) > MAX_BYTES or b"\0" in content:
        raise ValueError
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("gb18030")  # a Chinese Windows' "ANSI"
    return text.replace("\r\n", "\n")


def _lines_of(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """At which line each section and each key of it stands."""
    section, found = "", dict[tuple[str, str], int]()
    for number, line in enumerate(lines, 1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        section = header[1] if header else section
        found.setdefault((section, key[1] if key and not header else ""), number)
    return found


def _tables(lines: list[str]) -> tuple[dict[str, Any], list[Fault]]:
    """Read each section by itself: what is no TOML in one of them leaves the others."""
    starts = [0, *(n for n, line in enumerate(lines) if n and _HEADER.fullmatch(line)), len(lines)]
    tables, faults = dict[str, Any](), list[Fault]()
    for start, end in pairwise(starts):
        header = _HEADER.match(lines[start])
        number, todo = start + 1, SAID["twice"]
        try:
            found = tomllib.loads("\n" * start + "\n".join(lines[start:end]))
        except (ValueError, RecursionError) as fault:
            found, at = {}, re.search(r"at line (\d+)", str(fault))
            number = min(int(at[1]), end) if at else end if "end of document" in str(fault) else number
            line = lines[number - 1]
            if "Cannot overwrite" not in str(fault):
                todo = SAID["open_quotes" if '"""' in line else "correct" if "=" not in line else "quotes"]
        else:
            if not tables.keys() & found.keys():
                tables |= found
                continue
        tables = found | tables
        place = f"[{header[1]}]" if header else ""
        faults.append(Fault(place, number, SAID["syntax"], SAID["nonsense"], todo))
    return tables, faults


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    return str(difflib.get_close_matches(name[:64].lower(), names, n=1, cutoff=0)[0])


def _came(tables: Mapping[str, Any], section: str, key: str) -> Words:
    value = tables.get(section, {}).get(key)
    if value is None:
        return SAID["none"]
    if section not in SHOWN:
        return SAID["hidden"]
    try:
        return _say("as_is", _short(json.dumps(value, ensure_ascii=False, default=str)))
    except (ValueError, RecursionError):  # a number of thousands of digits
        return SAID["nonsense"]


def _short(text: str) -> str:
    text = "".join(one if one.isprintable() else "·" for one in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
