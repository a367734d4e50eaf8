"""Reading single values out of texts that people wrote, and writing them back the same way.

Every reader takes the text of a cell, trimmed, and raises `BadValueError`: what was expected, what came. An empty
cell is dealt with before (see `columns`). What a writer writes, its reader reads as the same value.
"""

import contextlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from collector.places.faults import BadValueError, shown
from protocol.hours import DAYS
from protocol.ids import is_slug

MAX_TEXT: Final = 200
MAX_ZONES: Final = 50
MAX_EXCLUDED: Final = 400
MAX_CORNERS: Final = 2000

Zone = tuple[str, str, str]
"""Box, camera and zone."""
Position = tuple[float, float]
"""Longitude and latitude in degrees, WGS84."""

_SPLIT: Final = re.compile(r"[;；,，、\s]+")
_PHONES: Final = re.compile(r"1[3-9]\d{9}|0\d{2,3}[1-9]\d{6,7}|[48]00\d{7}|\+[1-9]\d{6,14}", re.ASCII)
_DATE: Final = re.compile(r"(\d{4})(?:-|/|\.|年)(\d{1,2})(?:-|/|\.|月)(\d{1,2})日?(?:[ T]00:00(?::00)?)?")
_RANGE: Final = re.compile(r"\s*(?:\.\.|~|～|至|到)\s*")
_EMAIL: Final = re.compile(r"[^@\s<>\"(),:;\\\[\]]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def text(value: str) -> str:
    """Any short text on one line; a formula is refused."""
    if len(value) > MAX_TEXT:
        raise BadValueError(
            "too_long",
            f"最多 {MAX_TEXT} 个字符，现有 {len(value)} 个",
            f"expected at most {MAX_TEXT} characters, got {len(value)}",
        )
    if value.startswith(("=", "＝")):
        raise BadValueError(
            "formula",
            f"应为文字，现为公式 {shown(value)}；请复制后“选择性粘贴为数值”",
            f"expected text, got a formula {shown(value)}; paste it as a value",
        )
    odd = [one for one in value if _is_odd(one)]
    if odd:
        raise BadValueError(
            "odd_character",
            f"含有不可见或无效字符 U+{ord(odd[0]):04X}；请删去",
            f"expected letters that can be seen, got U+{ord(odd[0]):04X}; remove it",
        )
    return value


def _is_odd(sign: str) -> bool:
    # rare names have signs that are younger than this table of Unicode: planes 2 and 3 are for them alone
    if 0x20000 <= ord(sign) < 0x3FFFE and ord(sign) & 0xFFFE != 0xFFFE:
        return False
    return unicodedata.category(sign) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") or sign in _STEERING


_STEERING: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Marks that turn the direction of writing, with which a text looks like another."""


def slug(value: str) -> str:
    """Id of a shop, box, camera, zone or street."""
    if not is_slug(value):
        raise BadValueError(
            "id",
            f"编号只能用小写字母、数字和连字符（如 shop-12），最多 63 个，现为 {shown(value)}",
            f"expected lower-case letters, digits and hyphens such as shop-12, at most 63, got {shown(value)}",
        )
    return value


def phone(value: str) -> str:
    """A telephone number: Chinese ones as they are dialled in the country, others with + and their country."""
    plain = re.sub(r"[\s()\-.·]", "", unicodedata.normalize("NFKC", value).replace("—", "-"))
    plain = re.sub(r"^(?:\+86|0086)(?=1[3-9]\d{9}$|[48]00\d{7}$)", "", plain)
    plain = re.sub(r"^(?:\+86|0086)(?=[1-9]\d{8,10}$)", "0", plain)
    if not _PHONES.fullmatch(plain):
        raise BadValueError(
            "phone",
            f"应为手机号（11 位）、带区号的座机（如 0571-88001234）或 + 开头的国际号码，现为 {shown(value)}",
            f"expected a mobile number, one with its area code such as 0571-88001234, or +COUNTRY…, got {shown(value)}",
        )
    return plain


def email(value: str) -> str:
    """An address of e-mail."""
    text(value)
    if len(value) > 254 or not _EMAIL.fullmatch(value) or ".." in value:
        raise BadValueError(
            "email",
            f"应为电子邮箱（如 a@example.com），现为 {shown(value)}",
            f"expected an address such as a@example.com, got {shown(value)}",
        )
    return value


def choice(value: str, names: Mapping[str, Sequence[str]]) -> str:
    """One of several words, each known by several names."""
    for one, others in names.items():
        if value.lower() in (one, *others):
            return one
    known = "、".join(f"{one} ({others[0]})" for one, others in names.items())
    raise BadValueError(
        "choice", f"应为 {known} 之一，现为 {shown(value)}", f"expected one of {', '.join(names)}, got {shown(value)}"
    )


def zones(value: str) -> tuple[Zone, ...]:
    """Zones of cameras: `box/camera/zone`, several with a semicolon between them."""
    found: dict[Zone, None] = {}
    for part in filter(None, _SPLIT.split(value)):
        names = part.replace("／", "/").split("/")
        if len(names) != 3 or not all(map(is_slug, names)):
            raise BadValueError(
                "zone",
                f"应为 盒子/摄像头/区域（如 box-0001/cam-1/front），多个用分号隔开，现为 {shown(part)}",
                f"expected BOX/CAMERA/ZONE such as box-0001/cam-1/front, several with ; between, got {shown(part)}",
            )
        box, camera, zone = names
        if (box, camera, zone) in found:
            raise BadValueError("zone_twice", f"区域 {part} 写了两次", f"zone {part} stands there twice; remove one")
        found[(box, camera, zone)] = None
    if len(found) > MAX_ZONES:
        raise BadValueError(
            "zones",
            f"最多 {MAX_ZONES} 个区域，现有 {len(found)} 个",
            f"expected at most {MAX_ZONES} zones, got {len(found)}",
        )
    return tuple(sorted(found))


def zones_text(value: Sequence[Zone]) -> str:
    """What `zones` reads."""
    return "; ".join("/".join(zone) for zone in value)


def number(value: str, low: float, high: float, unit: str) -> float:
    """A number within limits."""
    plain = unicodedata.normalize("NFKC", value)
    if not re.fullmatch(r"[+-]?\d{1,9}(\.\d{1,15})?", plain) or not low <= float(plain) <= high:
        raise BadValueError(
            "number",
            f"应为 {low:g} 到 {high:g} 之间的数（{unit}），现为 {shown(value)}",
            f"expected a number from {low:g} to {high:g} ({unit}), got {shown(value)}",
        )
    return float(plain) + 0.0  # no negative zero


def longitude(value: str) -> float:
    """Degrees east."""
    return number(value, -180, 180, "°E, WGS84")


def latitude(value: str) -> float:
    """Degrees north; those of China are no longitude, which shows where the two were exchanged."""
    try:
        return number(value, -90, 90, "°N, WGS84")
    except BadValueError as bad:
        raise BadValueError(
            bad.code, f"{bad.text.zh}；经度、纬度是否写反了？", f"{bad.text.en}; are longitude and latitude exchanged?"
        ) from None


def number_text(value: float | None) -> str:
    """The shortest text that reads as the same number, without an exponent."""
    if value is None:
        return ""
    return f"{value:.15f}".rstrip("0").rstrip(".") if "e" in repr(value) else repr(value).removesuffix(".0")


def polygon(value: str) -> tuple[Position, ...]:
    """Corners `longitude latitude`, with a comma or semicolon between corners; closed by itself."""
    corners: list[Position] = []
    for part in re.split(r"[,，;；]", value.strip(" ,，;；")):
        names = part.split()
        if len(names) != 2:
            raise BadValueError(
                "corner",
                f"每个角点应为“经度 纬度”，角点之间用逗号，现为 {shown(part)}",
                f"expected corners as LONGITUDE LATITUDE with commas between them, got {shown(part)}",
            )
        corners.append((longitude(names[0]), latitude(names[1])))
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners.pop()
    if not 3 <= len(corners) <= MAX_CORNERS:
        raise BadValueError(
            "corners",
            f"应有 3 到 {MAX_CORNERS} 个角点，现有 {len(corners)} 个",
            f"expected 3 to {MAX_CORNERS} corners, got {len(corners)}",
        )
    return tuple(corners)


def polygon_text(value: Sequence[Position]) -> str:
    """What `polygon` reads."""
    return ", ".join(f"{number_text(x)} {number_text(y)}" for x, y in value)


def day(value: str) -> date:
    """A date: 2026-05-01, 2026/5/1 or 2026年5月1日."""
    match = _DATE.fullmatch(unicodedata.normalize("NFKC", value))
    found = None
    if match is not None:
        with contextlib.suppress(ValueError):
            found = date(*map(int, match.groups()))
    if found is None or not 2000 <= found.year <= 2200:
        plain = re.fullmatch(r"[3-9]\d{4}", value)  # days since 1900, as spreadsheets keep them
        hint = ("；请把该列设为“日期”格式", "; format the column as dates") if plain else ("", "")
        raise BadValueError(
            "date",
            f"应为存在的日期（如 2026-05-01），现为 {shown(value)}{hint[0]}",
            f"expected a day that there is, such as 2026-05-01, got {shown(value)}{hint[1]}",
        )
    return found


def days(value: str) -> tuple[date, ...]:
    """Dates and ranges of dates (`2026-10-01..2026-10-07`), with a semicolon between them."""
    found: set[date] = set()
    for part in filter(None, re.split(r"[;；,，、\n]+", _RANGE.sub("..", value))):
        first, *rest = part.strip().split("..")
        start, end = day(first.strip()), day((rest[-1] if rest else first).strip())
        if len(rest) > 1 or end < start:
            raise BadValueError(
                "dates", f"应为“开始..结束”，现为 {shown(part)}", f"expected FIRST..LAST, got {shown(part)}"
            )
        if (end - start).days > MAX_EXCLUDED:
            raise BadValueError(
                "dates",
                f"一段最多 {MAX_EXCLUDED} 天，现为 {shown(part)}",
                f"expected at most {MAX_EXCLUDED} days in a range, got {shown(part)}",
            )
        found.update(start + timedelta(days=n) for n in range((end - start).days + 1))
        if len(found) > MAX_EXCLUDED:
            raise BadValueError("dates", f"最多 {MAX_EXCLUDED} 天", f"expected at most {MAX_EXCLUDED} days, got more")
    return tuple(sorted(found))


def days_text(value: Sequence[date]) -> str:
    """What `days` reads; days that follow each other become a range."""
    parts: list[list[date]] = []
    for one in sorted(value):
        if parts and (one - parts[-1][1]).days == 1:
            parts[-1][1] = one
        else:
            parts.append([one, one])
    return "; ".join(f"{first}" if first == last else f"{first}..{last}" for first, last in parts)


_CHINESE_DAYS: Final = {
    name: index for index, names in enumerate(["一1", "二2", "三3", "四4", "五5", "六6", "日天七7"]) for name in names
}


def weekdays(value: str) -> tuple[int, ...]:
    """Weekdays, Monday is 0: `Mo-Fr,Su`, 周一至周五、周日, 每天; `1-5` counts from Monday."""
    plain = unicodedata.normalize("NFKC", value).strip()
    if plain in ("每天", "每日", "全周", "daily", "all"):
        return tuple(range(7))
    if plain == "周末":
        return (5, 6)
    found: set[int] = set()
    # a cell of nothing but separators names no day: that is a slip, not a permit for no day
    for part in _parts(re.split(r"[;；,，、\s]+", re.sub(r"\s*(?:-|—|~|至|到)\s*", "-", plain))):
        ends = [_weekday(name) for name in part.split("-")]
        if len(ends) > 2 or None in ends:
            raise BadValueError(
                "weekdays",
                f"应为“每天”“周一至周五”“周六、周日”或 Mo-Fr,Su，现为 {shown(value)}",
                f"expected weekdays such as Mo-Fr,Su, or 'daily', got {shown(value)}",
            )
        first, last = (one for one in (ends[0], ends[-1]) if one is not None)
        found.update((first + n) % 7 for n in range((last - first) % 7 + 1))
    return tuple(sorted(found))


def _parts(split: Sequence[str]) -> Sequence[str]:
    """What stands between separators; one empty part where nothing does, which no reader takes."""
    return [part for part in split if part] or [""]


def _weekday(name: str) -> int | None:
    if name.capitalize() in DAYS:
        return DAYS.index(name.capitalize())
    return _CHINESE_DAYS.get(re.sub(r"^(?:星期|礼拜|周)", "", name))


def weekdays_text(value: Sequence[int]) -> str:
    """What `weekdays` reads."""
    runs: list[list[int]] = []
    for one in sorted(value):
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ",".join(DAYS[first] if first == last else f"{DAYS[first]}-{DAYS[last]}" for first, last in runs)


Times = tuple[tuple[int, int], ...]
"""Ranges in minutes since midnight of the day on which they begin; the end may lie in the next day."""
DAY_MIN: Final = 24 * 60
_TIMES: Final = re.compile(r"(\d{1,2}):(\d{2})(?::00)?-(?:次日|翌日)?(\d{1,2}):(\d{2})(?::00)?")


def times(value: str) -> Times:
    """Hours: `18:00-22:00`, several with a comma; an end at or before the start is on the next day; 全天 is all day."""
    plain = re.sub(r"\s*(?:-|—+|~|至|到)\s*", "-", unicodedata.normalize("NFKC", value).strip())
    if plain in ("全天", "24小时", "24h", "24/7"):
        return ((0, DAY_MIN),)
    found: set[tuple[int, int]] = set()
    for part in _parts(re.split(r"[;,、\s]+", plain)):
        match = _TIMES.fullmatch(part)
        numbers = [int(one) for one in match.groups()] if match else [99, 0, 0, 0]
        start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
        if numbers[1] > 59 or numbers[3] > 59 or start >= DAY_MIN or end > DAY_MIN:
            raise BadValueError(
                "hours",
                f"应为 18:00-22:00 这样的时段（可跨零点，如 18:00-02:00），多段用逗号，现为 {shown(value)}",
                f"expected hours such as 18:00-22:00, or 18:00-02:00 past midnight, got {shown(value)}",
            )
        found.add((start, end if end > start else end + DAY_MIN))
    if len(found) > 12:
        raise BadValueError("hours", "最多 12 个时段", f"expected at most 12 ranges, got {len(found)}")
    return tuple(sorted(found))


def times_text(value: Times) -> str:
    """What `times` reads."""
    return ",".join(f"{_clock(start)}-{_clock(end if end <= DAY_MIN else end - DAY_MIN)}" for start, end in value)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def digits(value: str) -> str:
    """Digits only, full-width ones made plain."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", value))


def cell_code(value: str) -> str:
    """Code of a unit-grid cell: 15 digits (DB11: 6 region, 3 street, 3 community, 3 in order) or 14 (older)."""
    plain = digits(value)
    if not re.fullmatch(r"[0-9]{14,15}", plain) or plain[:2] == "00":
        raise BadValueError(
            "cell_code",
            f"单元网格编码应为 14 或 15 位数字（6 位区划 + 3 街道 + 3 社区 + 2 或 3 序号），现为 {shown(value)}",
            f"expected 14 or 15 digits (6 region, 3 street, 3 community, 2 or 3 in order), got {shown(value)}",
        )
    return plain


GB28181_TYPES: Final = {
    "111": "DVR",
    "112": "视频服务器 video server",
    "113": "编码器 encoder",
    "114": "解码器 decoder",
    "117": "报警控制器 alarm controller",
    "118": "NVR",
    "119": "视图库采集设备 APE (GA/T 1400)",
    "134": "报警输入 alarm input",
    "200": "中心信令控制服务器 SIP server",
    "215": "业务分组 business group",
    "216": "虚拟组织 virtual organisation",
}


def gb28181(value: str) -> str:
    """A camera's id on a video platform: 20 digits, of which the 11th to 13th are 131 (camera) or 132 (IPC)."""
    plain = digits(value)
    if not re.fullmatch(r"[0-9]{20}", plain):
        raise BadValueError(
            "gb28181",
            f"国标编号应为 20 位数字，现为 {shown(value)}（{len(plain)} 位）",
            f"expected the 20 digits of GB/T 28181, got {shown(value)} ({len(plain)} characters)",
        )
    kind = plain[10:13]
    if kind not in ("131", "132"):
        known = GB28181_TYPES.get(kind, "?")
        raise BadValueError(
            "gb28181_type",
            f"第 11 至 13 位应为 131（摄像机）或 132（网络摄像机），现为 {kind}（{known}）",
            f"expected a camera, 131 or 132 as digits 11 to 13, got {kind} ({known})",
        )
    return plain
