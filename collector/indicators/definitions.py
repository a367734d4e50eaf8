"""Each indicator, once: what it counts, in words and as code.

    python -m collector.indicators.definitions docs/ref [--check]

writes `indicators.md` from it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from collector.indicators.packs import NOTHING, Fact

F = Fact
REPEAT_DAYS: Final = 30
"""A confirmed case of the same rule and shop, or place, that began so many days before makes one a repeat."""


@dataclass(frozen=True)
class Which:
    """Tickets of which all of `having` is true and none of `lacking`."""

    having: Fact = NOTHING
    lacking: Fact = NOTHING


@dataclass(frozen=True)
class Count:
    """How many tickets.

    Args:
        words: its name, in Chinese and English; `means` likewise.
    """

    name: str
    words: tuple[str, str]
    means: tuple[str, str]
    which: Which


@dataclass(frozen=True)
class Share:
    """One number of tickets of another, in percent.

    Args:
        whole: a ticket is in one of them; `part` is of it.
        means: the formula.
        silent: what it does not say.
    """

    name: str
    words: tuple[str, str]
    means: tuple[str, str]
    silent: tuple[str, str]
    part: Which
    whole: tuple[Which, ...]


@dataclass(frozen=True)
class Minutes:
    """Median and 90th percentile of minutes from the appearance of a ticket."""

    name: str
    words: tuple[str, str]
    means: tuple[str, str]
    silent: tuple[str, str]
    column: Literal["notice_s", "clear_s", "close_s"]
    which: Which


CASE: Final = F.CONFIRMED
ENDED: Final = CASE | F.ENDED

COUNTS: Final = (
    Count("reported", ("上报", "reported"), ("全部工单", "all tickets"), Which()),
    Count(
        "confirmed", ("核实有效", "confirmed"), ("最后一次人工判断为有效", "a person's last word: true"), Which(CASE)
    ),
    Count(
        "false_alarm",
        ("误报", "false alarms"),
        ("最后一次人工判断为误报", "a person's last word: false"),
        Which(F.FALSE_ALARM),
    ),
    Count(
        "unfounded",
        ("申诉成立", "objections upheld"),
        ("商户申诉成立而撤销，含“非本店”", "withdrawn as the objection held, or as it was another shop's"),
        Which(F.UNFOUNDED),
    ),
    Count("duplicate", ("重复上报", "duplicates"), ("并入另一工单", "another ticket has it"), Which(F.DUPLICATE)),
    Count("exempt", ("备案豁免", "exempt"), ("有备案", "a permit covers it"), Which(F.EXEMPT)),
    Count(
        "lapsed",
        ("自行消失", "lapsed"),
        ("核实前已恢复，未经任何人判断", "clear before anyone reviewed it"),
        Which(F.UNJUDGED | F.LAPSED),
    ),
    Count(
        "unreviewed",
        ("未核实先提醒", "told unreviewed"),
        ("按策略先行提醒，至今无人核实，撤案除外", "told by the policy, nobody has reviewed it; not withdrawn"),
        Which(F.UNREVIEWED, F.WITHDRAWN),
    ),
    Count(
        "withdrawn_unreviewed",
        ("未核实撤案", "withdrawn unreviewed"),
        ("先行提醒后，未经核实即由人工撤案", "told by the policy, given up by a person before anybody reviewed it"),
        Which(F.UNJUDGED | F.WITHDRAWN),
    ),
    Count(
        "pending",
        ("待核实", "to be reviewed"),
        ("尚无人判断", "nobody has judged it yet"),
        Which(F.UNJUDGED | F.PENDING),
    ),
    Count(
        "self_corrected",
        ("自行整改", "corrected by the shop"),
        ("有效件，商户时限内整改", "confirmed, clear within the shop's minutes"),
        Which(ENDED | F.SELF_CORRECTED),
    ),
    Count(
        "registered", ("立案", "registered"), ("有效件中已立案", "confirmed and registered"), Which(CASE | F.REGISTERED)
    ),
    Count(
        "closed",
        ("立案后结案", "registered and closed"),
        ("立案件中已结案，撤案除外", "of the registered, closed and not withdrawn"),
        Which(ENDED | F.REGISTERED),
    ),
    Count(
        "withdrawn",
        ("撤案", "withdrawn"),
        ("有效件，由人工撤案", "confirmed, given up by a person"),
        Which(CASE | F.WITHDRAWN),
    ),
    Count(
        "overdue",
        ("立案后超期", "overdue"),
        ("立案件中至少一个环节超期，撤案除外", "of the registered, at least one step was overdue; not withdrawn"),
        Which(CASE | F.REGISTERED | F.OVERDUE, F.WITHDRAWN),
    ),
    Count(
        "reopened",
        ("复发", "came back"),
        ("恢复后又复发，仍属同一工单", "clear in between, the same ticket"),
        Which(F.REOPENED),
    ),
    Count("late", ("迟到", "arrived late"), ("因断网等原因晚到中心", "came late, as the line was down"), Which(F.LATE)),
)
SHARES: Final = (
    Share(
        "valid_rate",
        ("有效上报率", "share confirmed"),
        ("核实有效 ÷（核实有效 + 误报 + 申诉成立）", "confirmed ÷ (confirmed + false alarms + objections upheld)"),
        (
            "不含自行消失、重复、豁免和未经核实的件：无人判断过真假",
            "nothing of what lapsed, was a duplicate, exempt, or was never reviewed: nobody judged whether it was true",
        ),
        Which(CASE),
        (Which(CASE), Which(F.FALSE_ALARM), Which(F.UNFOUNDED)),
    ),
    Share(
        "self_corrected_rate",
        ("自行整改率", "share corrected by the shop"),
        ("自行整改 ÷ 已办结有效件（撤案除外）", "corrected by the shop ÷ confirmed that have ended (not withdrawn)"),
        (
            "不说明整改后保持多久；未经核实先提醒后整改的件不计入",
            "not for how long it stays so; nothing of what was told unreviewed",
        ),
        Which(ENDED | F.SELF_CORRECTED),
        (Which(ENDED),),
    ),
    Share(
        "soft_rate",
        ("智治率", "share solved without enforcement"),
        (
            "未立案而由商户或社区解决 ÷ 已办结有效件（撤案除外）",
            "solved by the shop or the community, never registered ÷ confirmed that have ended (not withdrawn)",
        ),
        ("立案后才由社区劝导解决的不算在内", "what the community solved after registration does not count"),
        Which(ENDED | F.SOFT),
        (Which(ENDED),),
    ),
    Share(
        "registered_rate",
        ("立案率", "share registered"),
        ("立案 ÷ 核实有效", "registered ÷ confirmed"),
        ("尚在商户或社区环节的件以后仍可能立案", "what is with the shop or the community may be registered later"),
        Which(CASE | F.REGISTERED),
        (Which(CASE),),
    ),
    Share(
        "closed_rate",
        ("结案率", "share closed"),
        ("立案后结案 ÷ 立案（撤案除外）", "registered and closed ÷ registered (not withdrawn)"),
        (
            "期末刚立案的件往往尚未到期；数字随后会上升",
            "what was registered at the end of the period may not be due yet: it goes on to rise",
        ),
        Which(ENDED | F.REGISTERED),
        (Which(CASE | F.REGISTERED, F.WITHDRAWN),),
    ),
    Share(
        "in_time_rate",
        ("按期结案率", "share closed in time"),
        (
            "立案后各环节均未超期而结案 ÷ 应结案（已结案，或有环节超期；撤案除外）",
            "closed with no step overdue since registration ÷ closed, or with a step overdue (not withdrawn)",
        ),
        (
            "按批准延期后的时限计算，但超期之后才延期的仍算超期；申诉期间时限停止",
            "deadlines count as extended; one extended after it was over was overdue; an objection stops the clock",
        ),
        Which(ENDED | F.REGISTERED, F.OVERDUE),
        (Which(CASE | F.REGISTERED | F.DUE, F.WITHDRAWN),),
    ),
    Share(
        "rework_rate",
        ("返工率", "share done again"),
        (
            "至少返工一次 ÷ 至少反馈处置一次的有效件",
            "sent back at least once ÷ confirmed and said to be handled at least once",
        ),
        ("一件返工多次只计一次", "one that was sent back several times counts once"),
        Which(CASE | F.FED_BACK | F.REWORKED),
        (Which(CASE | F.FED_BACK),),
    ),
    Share(
        "repeat_rate",
        ("重复率", "share of repeats"),
        (
            f"同一处 {REPEAT_DAYS} 天内已有有效件的有效件 ÷ 核实有效",
            f"confirmed, as was one of its rule and shop (or place) {REPEAT_DAYS} days before ÷ confirmed",
        ),
        ("复发而仍属同一工单的不计为重复", "what came back as the same ticket is no repeat"),
        Which(CASE | F.REPEATED),
        (Which(CASE),),
    ),
)
MINUTES: Final = (
    Minutes(
        "to_notice",
        ("出现到提醒", "appearance to notice"),
        ("有效件，到首次告知商户", "confirmed, until its shop was told for the first time"),
        ("未告知商户的件（先社区或执法、无商户）不在其中", "nothing of those of which no shop was told"),
        "notice_s",
        Which(CASE),
    ),
    Minutes(
        "to_clear",
        ("出现到恢复", "appearance to clear"),
        ("有效件，到最后一次看到恢复", "confirmed, until it was last seen clear"),
        (
            "未见恢复的件不在其中；中间复发的时间计入",
            "nothing of those not seen clear; what was back in between counts",
        ),
        "clear_s",
        Which(CASE),
    ),
    Minutes(
        "to_close",
        ("出现到结案", "appearance to close"),
        ("已办结有效件（撤案除外），到最后一次办结", "confirmed that have ended (not withdrawn), until they last did"),
        ("自行整改与社区解决的件计入", "those that the shop or the community solved count"),
        "close_s",
        Which(ENDED),
    ),
)
BY: Final = {
    "street": ("街道", "street"),
    "grid": ("网格", "grid cell"),
    "shop": ("店铺", "shop"),
    "camera": ("摄像头", "camera"),
    "category": ("类别", "category"),
    "hour": ("出现时段", "hour of appearance"),
    "weekday": ("星期", "day of the week"),
    "weekday_hour": ("星期与时段", "day of the week and hour"),
    "day": ("日期", "day"),
    "week": ("周（周一起）", "week, from Monday"),
}
"""What figures can be taken apart by."""
WEEKDAYS: Final = tuple(
    zip(
        (f"周{one}" for one in "一二三四五六日"),
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)

HEAD: Final = """# 指标 / Indicators

Made from `collector/indicators/definitions.py`. A ticket counts in the period in which it appeared (picture time, the
center's time zone), with what is known of it now: figures of a period go on to change until all its tickets have ended.
工单按出现时刻（图像时间、中心时区）计入各期，按目前所知统计：一期之内的工单全部办结之前，数字仍会变化。

What was last judged of a ticket counts (confirmed, false alarm, duplicate, exempt, objection upheld). Percentiles are
the nearest rank; minutes are whole seconds ÷ 60. Late arrivals count like all others.
"""


def document() -> str:
    """`indicators.md`."""
    parts = [HEAD, "\n## 件数 / Counts\n\n| name | 名称 | | 含义 | |\n| --- | --- | --- | --- | --- |\n"]
    parts += [f"| `{one.name}` | {' | '.join((*one.words, *one.means))} |\n" for one in COUNTS]
    for title, several in (
        ("比率 / Shares", SHARES),
        ("分钟，中位数与第 90 百分位 / Minutes, median and 90th percentile", MINUTES),
    ):
        parts.append(f"\n## {title}\n")
        parts += [
            f"\n### {one.words[0]} / {one.words[1]} (`{one.name}`)\n"
            f"{one.means[0]}。{one.silent[0]}。  \n{one.means[1]}. Does not say: {one.silent[1]}.\n"
            for one in several
        ]
    parts.append(
        f"\n## 分组 / Taken apart by\n\n{', '.join(f'`{name}` {zh} {en}' for name, (zh, en) in BY.items())}.\n"
    )
    return "".join(parts)


def main() -> int:
    """Write the page, or say whether it is as it should be."""
    file = Path(sys.argv[1]) / "indicators.md"
    if "--check" in sys.argv:
        return int(file.read_text("utf-8") != document())
    file.write_text(document(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
