"""The card: `cityeye.toml` on a box's boot partition, written by a program or by hand on any laptop.

What comes in are bytes as an editor left them; what goes out are the sections that can be used, and a fault for each
thing that cannot: where it stands, what was expected, what came, what to do, in Chinese and English. Encodings and
signs of Windows editors are taken as what they mean.
"""

import base64
import difflib
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, ip_address
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
LEAST_MTU: Final = 1280
"""Less is no network for IPv6 (RFC 8200)."""


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


def _typed(value: Any) -> Any:
    """A Chinese keyboard's full-width letters and digits as the plain ones."""
    return unicodedata.normalize("NFKC", value).strip() if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return re.split(r"[\s,;、]+", _typed(value)) if isinstance(value, str) else value


def _wrong(code: str, key: str = "") -> PydanticCustomError:
    return PydanticCustomError(code, code, {"key": key})  # type: ignore[arg-type, unused-ignore]  # a sentence


def _read(read: Callable[[str], object]) -> AfterValidator:
    """A check of a text; where `read` raises ValueError, its text may name a sentence below."""

    def check(text: str) -> str:
        try:
            return str(read(text))
        except ValueError as fault:
            raise _wrong(str(fault) if str(fault) in SAID else "reread") from None

    return AfterValidator(check)


def _interface(text: str) -> IPv4Interface:
    found = IPv4Interface(text)
    inside = found.network
    if "/" not in text:
        raise ValueError("prefix")
    if inside.prefixlen < 31 and found.ip in (inside.network_address, inside.broadcast_address):
        raise ValueError("ends")
    if found.is_multicast or found.is_loopback or inside.prefixlen == 0:
        raise ValueError
    return found


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*", text) or re.fullmatch(r"[\d.]+", text):
            raise
        return text


def _label(text: str) -> Invitation:
    found = Invitation.read(text)
    if found.box is not None and not is_slug(found.box):
        raise ValueError
    return found


def _ca(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise ValueError("private")
    x509.load_pem_x509_certificate(text.encode("ascii"))
    return text


def _ssh_key(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise ValueError("private")
    kind, _, rest = " ".join(text.split()).partition(" ")
    blob = base64.b64decode(rest.split(" ")[0], validate=True)
    good = re.fullmatch(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-\S+)", kind)
    if not good or not text.isprintable() or not blob.startswith(len(kind).to_bytes(4) + kind.encode()):
        raise ValueError
    return f"{kind} {rest}"


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


Plain = Annotated[str, BeforeValidator(_typed)]
Ip = Annotated[str, BeforeValidator(_typed), _read(IPv4Address)]
Host = Annotated[str, BeforeValidator(_typed), _read(_host)]
Line = Annotated[str, Field(max_length=64), _read(_one_line)]


class ClaimSection(Section):
    """By what the box becomes its center's; `label`, or the parts of it."""

    label: Annotated[Plain, _read(_label)] | None = None
    url: Annotated[Plain, _read(read_url)] | None = None
    code: Annotated[Plain, _read(read_claim)] | None = None
    ca: Annotated[Plain, _read(read_fingerprint)] | None = None
    box: Annotated[Slug, BeforeValidator(_typed)] | None = None

    @model_validator(mode="after")
    def _label_or_parts(self) -> Self:
        if self.label and (self.url or self.code or self.ca or self.box):
            raise _wrong("both", "label")
        return self


class CenterSection(Section):
    """Of the center."""

    ca: Annotated[Plain, _read(_ca)] | None = None


class BoxSection(Section):
    """Shown only; enrolment decides."""

    site: Annotated[Slug, BeforeValidator(_typed)] | None = None


class NetworkSection(Section):
    """The cable; nothing: DHCP."""

    address: Annotated[Plain, _read(_interface)] | None = None
    gateway: Ip | None = None
    dns: Annotated[tuple[Ip, ...], Field(max_length=6), BeforeValidator(_listed)] = ()
    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    mtu: int | None = Field(default=None, ge=LEAST_MTU, le=9216, strict=True)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.gateway is None:
            return self
        if self.address is None:
            raise _wrong("no_address", "gateway")
        own, gateway = IPv4Interface(self.address), IPv4Address(self.gateway)
        if gateway not in own.network or gateway == own.ip:
            raise _wrong("outside", "gateway")
        return self


class WifiSection(Section):
    """A wireless network."""

    ssid: str
    password: Annotated[str, Field(pattern=r"^([ -~]{8,63}|[0-9A-Fa-f]{64})$")] | None = None
    country: Annotated[str, Field(pattern="^[A-Z]{2}$"), BeforeValidator(lambda one: str(_typed(one)).upper())] = "CN"

    @model_validator(mode="after")
    def _length(self) -> Self:
        if not 1 <= len(self.ssid.encode("utf-8", "replace")) <= 32 or not self.ssid.isprintable():
            raise _wrong("reread", "ssid")
        return self


class ModemSection(Section):
    """A modem for 4G or 5G."""

    apn: Annotated[Plain, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
    pin: Annotated[Plain, Field(pattern=r"^([0-9]{4,8})?$")] = ""
    user: Line = ""
    password: Line = ""


class TimeSection(Section):
    """Where the time comes from, and which one people read."""

    servers: Annotated[tuple[Host, ...], Field(max_length=8), BeforeValidator(_listed)] = ()
    zone: Annotated[TimeZoneName, BeforeValidator(_typed)] | None = None


class SshSection(Section):
    """Who may log in."""

    keys: tuple[Annotated[str, _read(_ssh_key)], ...] = Field(default=(), max_length=32)


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
        if claim.label:
            pinned: str | None = Invitation.read(claim.label).fingerprint
        else:
            pinned = claim.ca
            parts = {"url": claim.url, "code": claim.code, "ca": pinned or own}
            lacking = [name for name, value in parts.items() if value is None]
            if lacking and (claim.box or len(lacking) + (own is not None) < 3):
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
        claim = self.claim
        if claim.label:
            return Invitation.read(claim.label)
        fingerprint = claim.ca or self._fingerprint()
        if claim.url is None or claim.code is None or fingerprint is None:
            return None
        return Invitation(claim.url, claim.code, fingerprint, claim.box)


SECTIONS: Final[dict[str, type[Section]]] = {
    name: (get_args(one.annotation) or (one.annotation,))[0] for name, one in Card.model_fields.items()
}
SECRET: Final = {f"claim.{key}" for key in ("label", "code", "ca", "box")} | {
    "center.ca",
    "wifi.password",
    "modem.pin",
    "modem.password",
    "ssh.keys",
}
"""What is not quoted: a code may stand in the wrong line, a private key in the place of a public one."""

SAID: Final = {
    key: Words(zh, en)
    for key, zh, en in (
        line.split(" | ")
        for line in """\
claim.label | 认领标签二维码的全部文字 https://…#claim=…&ca=… | all that the label's QR code says: https://…#claim=…&ca=…
claim.url | 中心地址，例如 https://center.example:8884/ | https://center.example:8884/ as on the label
claim.code | 标签上的 18 位认领码 | the label's claim code, 18 letters and digits
claim.ca | 标签上的指纹 sha256: 加 32 至 64 位十六进制数 | sha256: and the label's 32 to 64 hexadecimal digits
claim.box | 小写字母、数字和连字符，例如 xiaohe-0001 | lower-case letters, digits and hyphens: xiaohe-0001
center.ca | 中心的 CA 证书（PEM，用三个双引号括起） | the center's CA certificate, PEM, within three quotes
box.site | 小写字母、数字和连字符，例如 xiaohe-0001 | lower-case letters, digits and hyphens: xiaohe-0001
network.address | 本机地址加前缀长度，例如 10.1.2.3/24 | this box's address with its prefix: 10.1.2.3/24
network.gateway | 与本机同一网段的网关，例如 10.1.2.1 | the gateway within the box's network: 10.1.2.1
network.dns | 一至六个地址，例如 ["10.1.2.1"] | up to six addresses: ["10.1.2.1"]
network.vlan | 1 至 4094 的整数 | a whole number from 1 to 4094
network.mtu | 1280 至 9216 的整数 | a whole number from 1280 to 9216
wifi.ssid | Wi-Fi 名称，1 至 32 字节（汉字占 3 字节） | the network's name, 1 to 32 bytes
wifi.password | 8 至 63 个英文字符 | 8 to 63 plain characters
wifi.country | 两个字母的国家代码，例如 CN | two letters such as CN
modem.apn | 运营商的接入点，例如 cmnet | the operator's access point, such as cmnet
modem.pin | SIM 卡的 4 至 8 位 PIN 码 | the SIM's PIN, 4 to 8 digits
modem.user | 不超过 64 个字的一行文字 | a line of at most 64 characters
modem.password | 不超过 64 个字的一行文字 | a line of at most 64 characters
time.servers | 时间服务器，例如 ["ntp.aliyun.com"] | time servers: ["ntp.aliyun.com"]
time.zone | 时区，例如 Asia/Shanghai | a time zone such as Asia/Shanghai
ssh.keys | 公钥，例如 ["ssh-ed25519 AAAA… 姓名"] | public keys: ["ssh-ed25519 AAAA… name"]
correct | 请改正这一行 | correct this line
reread | 请对照标签或网管给的数据重新抄写 | copy it again from the label or from the network's keeper
missing | 请补上这一行 | add this line
string_type | 请给值加上英文双引号 | put the value into double quotes
int_type | 请去掉引号和小数点，只写数字 | write digits only, no quotes
tuple_type | 请写成 ["…", "…"] | write it as ["…", "…"]
prefix | 请在地址后加上 /24 这样的前缀长度或掩码 | add the prefix length or the mask, such as /24
ends | 这是网段的首地址或广播地址，请换一个 | this is the network's own or its broadcast address; take another
no_address | 请同时填写 address，或删去 gateway | give an address as well, or take the gateway out
outside | 请核对 address、前缀长度和 gateway | compare address, prefix and gateway
both | label 和其余各项只留一种 | keep either the label or its parts
lacking | 请补上，或改用 label 一项 | add it, or give the label alone
other_ca | 证书不是标签上那个中心的：请向中心要证书，或删去 [center] | another center's; take [center] out
private | 这是私钥，绝不能放在这里：请换成公钥或证书 | this is a private key: take the public one
syntax | 名称 = "值"，用英文引号 | lines such as name = "value", with plain quotes
text | 不超过 64 KB 的文本（UTF-8） | a text of at most 64 KB in UTF-8
one_of | {0} 之一 | one of {0}
once | 每节只出现一次 | each section once
a_section | 一节 | a section
as_is | {0} | {0}
none | 没有 | none
blank | 空白 | nothing
hidden | {0} 个字符（不显示） | {0} characters (not shown)
other_file | 别的文件，或太大 | another file, or a larger one
again | 第二次出现 | the same again
nonsense | 读不懂的一行 | a line that makes no sense
open_quotes | 请补上三个双引号 | end it with three quotes
second | 请删去一行 | take one of them out
no_equals | 注释要以 # 开头 | begin a comment with #
odd_quote | 请补上引号 | add the other quote
no_quotes | 请给值加上英文双引号 | put it into double quotes
escape | 反斜杠要写两个，其余请对照样例 | write \\ twice, and compare the rest with the example
save | 请用记事本另存为 UTF-8 | save it as UTF-8 again
merge | 请合并成一节 | put both into one
move | 请移到 [{0}] 下面 | move it below [{0}]
near | 是不是 {0}？ | did you mean {0}?
own_line | 请写成一行 [{0}]，下面再写各项 | write [{0}] on a line of its own, values below it""".splitlines()
    )
}
"""What is expected of a value, by its name; then what came, and what to do, by what is wrong."""
_HEADER: Final = re.compile(r"\s*\[\s*([\w-]+)\s*\]\s*(#.*)?")
_KEY: Final = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")
_QUOTED: Final = re.compile(
    r'"(?:\\.|[^"\\])*"|\'[^\']*\'|[“”＂]([^“”＂"]*)[“”＂]|[‘’＇]([^‘’＇"]*)[‘’＇]|.', re.DOTALL
)
_SIGNS: Final[dict[int, int | str]] = {
    **{0xFF01 + n: 0x21 + n for n in range(94)},
    **str.maketrans("\u3000\u00a0【】、“”‘’", "  [],\"\"''"),
    **dict.fromkeys((0x200B, 0x200E, 0xFEFF), ""),
}
"""What a Chinese keyboard or a word processor writes in place of TOML's own signs."""


def read_card(content: bytes) -> tuple[Card, tuple[Fault, ...]]:
    """Read a card; what cannot be used of it is left out and is a fault. Never raises."""
    try:
        lines = decoded(content).split("\n")
    except ValueError:
        return Card(), (Fault("", None, _say("text"), _say("other_file"), _say("save")),)
    places = _places(lines)
    tables, faults = _tables(lines)
    sections: dict[str, Any] = {}
    for name, table in tables.items():
        found, more = _section(name, table, places)
        faults += more
        if found is not None:
            sections[name] = found
    try:
        card = Card(**sections)
    except ValidationError as fault:
        one = fault.errors()[0]
        section, _, name = one["ctx"]["key"].partition(".")
        faults.append(places.fault(section, name, one["ctx"]["key"], _came(tables, section, name), _say(one["type"])))
        card = Card(**{name: one for name, one in sections.items() if name not in ("claim", "center")})
    return card, tuple(sorted(faults, key=lambda one: one.line or 0))


def _say(key: str, *values: object) -> Words:
    zh, en = SAID[key]
    return Words(zh.format(*values), en.format(*values)) if values else Words(zh, en)


def decoded(content: bytes) -> str:
    """The text of a file as any editor left it; raises ValueError for what is none."""
    if len(content) > MAX_BYTES:
        raise ValueError
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16")
    elif b"\0" in content.rstrip(b"\0\x1a"):
        raise ValueError
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("gb18030")  # a Chinese Windows' "ANSI"
    return text.rstrip("\0\x1a").replace("\r\n", "\n").replace("\r", "\n")


class _Places(dict[tuple[str, str], int]):
    """At which line each section and each key of it stands."""

    def fault(self, section: str, key: str, expected: str | Words, came: Words, todo: Words) -> Fault:
        place = " ".join(filter(None, (section and f"[{_short(section)}]", _short(key))))
        line = self.get((section, key), self.get((section, "")))
        return Fault(place, line, _say(expected) if isinstance(expected, str) else expected, came, todo)


def _places(lines: list[str]) -> _Places:
    section, places = "", _Places()
    for number, line in enumerate(map(_plain, lines), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        section = header[1] if header else section
        places.setdefault((section, key[1] if key and not header else ""), number)
    return places


def _plain(line: str) -> str:
    def sign(found: re.Match[str]) -> str:
        whole, inner = found[0], found[1] if found[1] is not None else found[2]
        if inner is not None:
            return '"' + inner.replace("\\", "\\\\") + '"'
        return whole if whole[0] in "\"'" else whole.translate(_SIGNS)

    return _QUOTED.sub(sign, line)


def _tables(lines: list[str]) -> tuple[dict[str, Any], list[Fault]]:
    """The file's tables; where it is no TOML as a whole, those of its sections that are."""
    try:
        return tomllib.loads("\n".join(lines)), []
    except (ValueError, RecursionError):
        lines = [_plain(line) for line in lines]
    starts = [0, *(n for n, line in enumerate(lines) if n and _HEADER.fullmatch(line)), len(lines)]
    tables, faults = dict[str, Any](), list[Fault]()
    for start, end in pairwise(starts):
        header = _HEADER.match(lines[start])
        place = f"[{header[1]}]" if header else ""
        try:
            found = tomllib.loads("\n" * start + "\n".join(lines[start:end]))
        except (ValueError, RecursionError) as fault:
            at = re.search(r"at line (\d+)", str(fault))
            number = min(int(at[1]), end) if at else end if "end of document" in str(fault) else start + 1
            why = _why(lines[number - 1], str(fault))
            faults.append(Fault(place, number, _say("syntax"), _say("nonsense"), _say(why)))
            continue
        if tables.keys() & found.keys():
            faults.append(Fault(place, start + 1, _say("once"), _say("again"), _say("merge")))
        tables = found | tables
    return tables, faults


def _why(line: str, said: str) -> str:
    tests = {
        "open_quotes": '"""' in line or "'''" in line,
        "second": "Cannot overwrite" in said,
        "no_equals": "=" not in line and "[" not in line,
        "odd_quote": line.count('"') % 2,
        "no_quotes": '"' not in line,
    }
    return next((why for why, so in tests.items() if so), "escape")


def _section(name: str, table: Any, places: _Places) -> tuple[Section | None, list[Fault]]:
    model, said = SECTIONS.get(name), _say("as_is", _short(name))
    known = _say("one_of", ", ".join(f"[{one}]" for one in SECTIONS))
    if model is None and isinstance(table, dict):
        return None, [places.fault(name, "", known, said, _say("near", f"[{_nearest(name, SECTIONS)}]"))]
    if model is None:
        homes = [section for section, one in SECTIONS.items() if name in one.model_fields]
        todo = _say("move", homes[-1]) if homes else _say("near", f"[{_nearest(name, SECTIONS)}]")
        return None, [places.fault("", name, known, said, todo)]
    if not isinstance(table, dict):
        return None, [places.fault("", name, "a_section", _say("nonsense"), _say("own_line", name))]
    fields, faults, bad = model.model_fields, list[Fault](), set[str]()
    for key in table.keys() - fields.keys():
        todo = _say("near", _nearest(key, fields))
        faults.append(places.fault(name, key, _say("one_of", ", ".join(fields)), _say("as_is", _short(key)), todo))
    values = {key: value for key, value in table.items() if key in fields}
    found: Section | None = None
    try:
        found = model.model_validate(values)
    except ValidationError as fault:
        for one in fault.errors(include_url=False):
            key = str(one["loc"][0] if one["loc"] else one["ctx"]["key"])
            if key not in bad:
                todo = _say(one["type"] if one["type"] in SAID else "correct")
                faults.append(places.fault(name, key, f"{name}.{key}", _came({name: table}, name, key), todo))
            bad.add(key)
    if name == "time":  # its values have nothing to do with one another
        found = model.model_validate({key: value for key, value in values.items() if key not in bad})
    return (None if faults and name != "time" else found), faults


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    return str(difflib.get_close_matches(name[:64].lower(), names, n=1, cutoff=0)[0])


def _came(tables: Mapping[str, Any], section: str, key: str) -> Words:
    value = tables.get(section, {}).get(key)
    if value is None:
        return _say("none")
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return _say("nonsense")
    if f"{section}.{key}" in SECRET:
        return _say("hidden", len(text))
    return _say("as_is", _short(text)) if text.strip() else _say("blank")


def _short(text: str) -> str:
    text = "".join(one if one.isprintable() else "·" for one in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
