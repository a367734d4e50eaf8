"""The life of a ticket as one table: from which state, by which verb, to which state, and who may.

    python -m collector.tickets.machine docs/ref [--check]

writes `tickets.md` from it: a diagram and the tables.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from collector.people.actor import Role


class State(StrEnum):
    """Where a ticket stands."""

    PENDING_REVIEW = "pending_review"
    FALSE_ALARM = "false_alarm"
    DUPLICATE = "duplicate"
    EXEMPT = "exempt"
    LAPSED = "lapsed"
    NOTICED = "noticed"
    SELF_CORRECTED = "self_corrected"
    COMMUNITY = "community"
    REGISTERED = "registered"
    DISPATCHED = "dispatched"
    HANDLING = "handling"
    VERIFYING = "verifying"
    REWORK = "rework"
    APPEALED = "appealed"
    CLOSED = "closed"


FINAL: Final = frozenset(
    {State.FALSE_ALARM, State.DUPLICATE, State.EXEMPT, State.LAPSED, State.SELF_CORRECTED, State.CLOSED}
)
"""Nothing more is to be done; a ticket in any other state is open."""
JUDGED: Final = frozenset({State.FALSE_ALARM, State.DUPLICATE})
"""A person said that there was no case of its own: what comes later is another ticket."""
INBOX: Final = frozenset({State.PENDING_REVIEW, State.LAPSED})
"""Between these two the inbox decides by itself, so that a backlog in any order ends alike."""

WORDS: Final[dict[State, tuple[str, str]]] = {
    State.PENDING_REVIEW: ("待核实", "to be reviewed"),
    State.FALSE_ALARM: ("误报", "false alarm"),
    State.DUPLICATE: ("重复", "duplicate"),
    State.EXEMPT: ("备案豁免", "exempt by a permit"),
    State.LAPSED: ("自行消失", "lapsed: clear before review"),
    State.NOTICED: ("已提醒商户", "the shop is told"),
    State.SELF_CORRECTED: ("自行整改", "corrected by the shop"),
    State.COMMUNITY: ("社区劝导", "the community calls"),
    State.REGISTERED: ("已立案", "registered"),
    State.DISPATCHED: ("已派遣", "dispatched"),
    State.HANDLING: ("处置中", "being handled"),
    State.VERIFYING: ("核查中", "being verified"),
    State.REWORK: ("返工", "to be done again"),
    State.APPEALED: ("申诉中", "under appeal"),
    State.CLOSED: ("已结案", "closed"),
}

ADMIN, OPERATOR, GRID, OFFICER = Role.ADMIN, Role.OPERATOR, Role.GRID_WORKER, Role.OFFICER
ROOM: Final = (OPERATOR, ADMIN)
"""The command room."""
FIELD: Final = (OFFICER, GRID)
POLICY: Final = "policy"
CAMERA: Final = "camera"
SHOP: Final = "shop"
OPEN: Final = tuple(state for state in State if state not in FINAL)
AFTER_NOTICE: Final = tuple(state for state in OPEN if state not in (State.PENDING_REVIEW, State.APPEALED))
ENFORCED: Final = tuple(state for state in AFTER_NOTICE if state not in (State.NOTICED, State.COMMUNITY))
"""From registration on."""


@dataclass(frozen=True)
class Transition:
    """One line of the table.

    Args:
        verb: what is done.
        sources: the states in which it may be.
        targets: where it leads; several: which one is said in `words`; none: the state stays.
        who: roles of persons, and the other kinds of actors, that may.
        words: what it means, in Chinese and English.
        needs: arguments without which it is refused; `reason` among them.
    """

    verb: str
    sources: tuple[State, ...]
    targets: tuple[State, ...]
    who: tuple[str, ...]
    words: tuple[str, str]
    needs: tuple[str, ...] = ()


def _line(
    verb: str,
    sources: State | Iterable[State],
    targets: State | tuple[State, ...] | None,
    who: str | Iterable[str],
    zh: str,
    en: str,
    needs: tuple[str, ...] = (),
) -> Transition:
    def pack(value: State | Iterable[State]) -> tuple[State, ...]:
        return (value,) if isinstance(value, State) else tuple(value)

    by = (who,) if isinstance(who, str) else tuple(who)
    return Transition(verb, pack(sources), () if targets is None else pack(targets), by, (zh, en), needs)


S = State
TRANSITIONS: Final[tuple[Transition, ...]] = (
    # review
    _line(
        "confirm", S.PENDING_REVIEW, (S.NOTICED, S.COMMUNITY, S.REGISTERED), ROOM,
        "人工确认；先找商户、社区还是执法由策略定", "a person confirms the picture; the policy says what comes first",
    ),
    _line(
        "inspect", S.PENDING_REVIEW, None, ROOM,
        "派人到现场核实（群众、热线、商户上报）", "somebody is sent to look, where a person reported it", ("to",),
    ),
    _line(
        "found", S.PENDING_REVIEW, None, (*FIELD, *ROOM),
        "现场核实结果", "what somebody found who went there", ("result",),
    ),
    _line(
        "review", (S.NOTICED, S.COMMUNITY), None, ROOM,
        "补做人工核实（提醒未经核实即发出）", "the picture of an unreviewed notice is reviewed afterwards",
    ),
    _line(
        "notify", S.PENDING_REVIEW, S.NOTICED, POLICY,
        "策略允许的时段与区域内，未经核实先提醒商户",
        "the shop is told unreviewed, where and when the policy allows it",
    ),
    _line(
        "false_alarm", (S.PENDING_REVIEW, S.NOTICED, S.COMMUNITY), S.FALSE_ALARM, ROOM,
        "误报", "nothing was wrong there",
    ),
    _line("duplicate", S.PENDING_REVIEW, S.DUPLICATE, ROOM, "与另一工单重复", "another ticket has it", ("of",)),
    _line(
        "exempt", S.PENDING_REVIEW, S.EXEMPT, (POLICY, *ROOM),
        "有备案，免于处理，写明备案号", "a permit covers it, which is named", ("permit",),
    ),
    _line(
        "resume", S.EXEMPT, S.PENDING_REVIEW, POLICY,
        "备案时段已过仍未收回", "the permit's hours are over and it still stands",
    ),
    _line(
        "hold", S.PENDING_REVIEW, None, POLICY,
        "暂停期内静默", "kept quiet: its zone or camera is paused", ("pause",),
    ),
    _line("release", S.PENDING_REVIEW, None, POLICY, "暂停结束，恢复处理", "the pause is over and it still stands"),
    _line("lapse", S.PENDING_REVIEW, S.LAPSED, CAMERA, "核实前已恢复", "clear before anyone reviewed it"),
    _line(
        "reopen", (S.LAPSED, S.SELF_CORRECTED, S.CLOSED), S.PENDING_REVIEW, CAMERA,
        "30 分钟内复发", "back within 30 minutes of being clear",
    ),
    _line(
        "reconsider", (S.FALSE_ALARM, S.DUPLICATE, S.EXEMPT), S.PENDING_REVIEW, ROOM,
        "撤回先前判断，重新核实", "a judgement is taken back: reviewed anew", ("reason",),
    ),
    # the shop's minutes
    _line(
        "told", AFTER_NOTICE, None, (POLICY, *ROOM, GRID),
        "已告知商户，整改时限起算；立案后仅用于提醒被证实未送达之后",
        "the shop has been told: its minutes begin; once registered only where its notice turned out not to have come",
    ),
    _line(
        "untold", (S.NOTICED, S.COMMUNITY, S.DISPATCHED, S.HANDLING, S.VERIFYING, S.REWORK, S.SELF_CORRECTED, S.CLOSED),
        None, POLICY,
        "提醒未曾送达，撤回已告知", "the notice never came after all: the shop was not told",
    ),
    _line(
        "untold", S.REGISTERED, S.COMMUNITY, POLICY,
        "提醒未曾送达：尚未派遣，退回社区环节先行告知",
        "the notice never came after all, and nobody is on the way: back to the community, to tell the shop first",
    ),
    _line(
        "correct", (S.NOTICED, S.COMMUNITY), S.SELF_CORRECTED, CAMERA,
        "摄像头看到时限内已恢复", "seen clear within the shop's minutes",
    ),
    _line(
        "put_right", (S.NOTICED, S.COMMUNITY), S.SELF_CORRECTED, (GRID, *ROOM),
        "无摄像头处：有人在时限内看到已恢复", "where no camera looks: seen put right within the shop's minutes",
    ),
    _line(
        "time_up", S.NOTICED, S.COMMUNITY, POLICY,
        "时限已到未恢复", "the shop's minutes are over and it still stands",
    ),
    _line(
        "pass_on", S.NOTICED, S.COMMUNITY, ROOM,
        "无法告知商户，转社区", "the shop cannot be told: the community calls", ("reason",),
    ),
    _line(
        "shop_done", (S.NOTICED, S.COMMUNITY), None, SHOP,
        "商户称已整改，请摄像头查看", "the shop says done: the camera is asked",
    ),
    _line(
        "looked", (S.NOTICED, S.COMMUNITY), None, CAMERA,
        "摄像头查看的结果", "what the camera saw when it was asked",
    ),
    # the community's minutes
    _line(
        "solve", S.COMMUNITY, (S.VERIFYING, S.CLOSED), (GRID, *ROOM, CAMERA),
        "社区劝导后已恢复；摄像头看到即结案，否则先核查",
        "solved by talking; closed where the camera sees it clear, else verified first",
    ),
    # enforcement
    _line(
        "register", S.COMMUNITY, S.REGISTERED, ROOM,
        "立案：须经人工核实、已告知商户且时限已过",
        "registered: reviewed by a named person, the shop told, its minutes over",
    ),
    _line(
        "dispatch", (S.REGISTERED, S.REWORK), S.DISPATCHED, (*ROOM, OFFICER),
        "派遣", "given to somebody", ("to",),
    ),
    _line(
        "dispatch", (S.DISPATCHED, S.HANDLING), S.DISPATCHED, ROOM,
        "改派他人，接单时限重新计算", "given to somebody else, who has the time of that step anew", ("to",),
    ),
    _line(
        "send_back", (S.DISPATCHED, S.HANDLING), S.REGISTERED, (*FIELD, *ROOM),
        "退回；限承办人，指挥室可代办", "not theirs: given back, by whoever has it, or the room for them", ("reason",),
    ),
    _line(
        "accept", (S.DISPATCHED, S.REWORK), S.HANDLING, FIELD,
        "接单；谁接单谁承办", "taken on; who takes it on is its assignee from then on",
    ),
    _line(
        "feed_back", S.HANDLING, S.VERIFYING, (*FIELD, *ROOM),
        "处置完毕反馈，请摄像头核查；限承办人，指挥室可代办",
        "handled; the camera is asked to verify; by whoever has it, or the room for them",
    ),
    _line("verify_clear", S.VERIFYING, S.CLOSED, CAMERA, "摄像头核查：已恢复，结案", "the camera sees it clear"),
    _line(
        "verify_occupied", S.VERIFYING, (S.REWORK, S.COMMUNITY), CAMERA,
        "摄像头核查：仍占道，返工（社区环节则退回社区）", "still occupied: done again, by whom it was done",
    ),
    _line("verify_unseen", S.VERIFYING, None, CAMERA, "摄像头看不清，请人工判断", "not seen: a person decides"),
    _line(
        "close", (S.VERIFYING, S.COMMUNITY, S.REGISTERED, S.DISPATCHED, S.HANDLING, S.REWORK), S.CLOSED, ROOM,
        "人工结案", "a person closes it", ("reason",),
    ),
    _line(
        "rework", S.VERIFYING, S.REWORK, ROOM,
        "人工判断未达标，返工", "a person says that it is not done", ("reason",),
    ),
    _line(
        "withdraw", AFTER_NOTICE, S.CLOSED, ROOM,
        "撤销", "withdrawn: the case is given up", ("reason",),
    ),
    # objections
    _line(
        "appeal", (*AFTER_NOTICE, S.CLOSED, S.SELF_CORRECTED), S.APPEALED, (SHOP, *ROOM, GRID),
        "商户申诉，时限停止计算", "the shop objects: the clock stops", ("reason",),
    ),
    _line("not_mine", (*AFTER_NOTICE, S.CLOSED), S.APPEALED, SHOP, "商户称非本店", "this is not their shop"),
    _line("uphold", S.APPEALED, S.CLOSED, ROOM, "申诉成立，撤销", "the objection holds: withdrawn", ("reason",)),
    _line(
        "reject", S.APPEALED, (*AFTER_NOTICE, S.CLOSED, S.SELF_CORRECTED), ROOM,
        "申诉不成立，回到原环节，余下时限继续",
        "it does not hold: back to where it was, with the time that was left", ("reason",),
    ),
    # at any time
    _line("extend", OPEN, None, ROOM, "延期", "the deadline is moved", ("due_ms", "reason")),
    _line("urge", OPEN, None, ROOM, "调整紧急程度", "more or less urgent from now on", ("urgency",)),
    _line("escalate", OPEN, None, POLICY, "超期升级", "overdue: the next one is told", ("level",)),
    _line(
        "remark", tuple(State), None, (*ROOM, OFFICER, GRID), "备注", "a remark", ("reason",),
    ),
)  # fmt: skip

VERBS: Final = tuple(dict.fromkeys(one.verb for one in TRANSITIONS))
SOURCES: Final = ("video", "hotline", "grid", "shop", "public")
"""Who may tell of something: a camera, the 12345 hotline, a grid worker, a shop, anybody."""
SEEN: Final = ("video", "grid")
"""Sources that have seen it themselves; of the others somebody has to go and look before anything follows."""
FINDINGS: Final = ("exists", "not_exist", "unable")
URGENCIES: Final = ("normal", "urgent", "very_urgent")
OUTCOMES: Final = ("handled", "community", "moved_on", "other")
"""That a person may close with; `withdrawn` is of `withdraw` and `uphold`."""
_MOST: Final = 2**53
"""Above that JSON's readers do not agree on a number any more, and 64 bits end not far."""
_LONGEST: Final = 100


def good_number(value: object) -> bool:
    """Whether it may be the number of something, or an instant."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST


@dataclass(frozen=True)
class Argument:
    """What a verb takes from a person, besides a reason.

    Args:
        kind: a `number` of something, an `instant` in milliseconds since the epoch, a `name`, or a `choice`.
        words: what it means, in Chinese and English.
        among: of a choice.
    """

    kind: Literal["number", "instant", "name", "choice"]
    words: tuple[str, str]
    among: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is expected, for people."""
        match self.kind:
            case "number":
                return "a whole number from 1 on"
            case "instant":
                return "milliseconds since the epoch, a whole number"
            case "name":
                return f"a text of at most {_LONGEST} printable characters"
        return f"one of {', '.join(self.among)}"

    def takes(self, value: object) -> bool:
        """Whether it is one."""
        if self.kind in ("number", "instant"):
            return good_number(value)
        if not isinstance(value, str):
            return False
        return value in self.among if self.kind == "choice" else 0 < len(value) <= _LONGEST and value.isprintable()


_TO: Final = Argument(
    "name", ("在岗的执法队员或网格员的登录名", "sign-in name of an active officer or grid worker of this street")
)
ARGUMENTS: Final[Mapping[str, Mapping[str, Argument]]] = {
    "false_alarm": {
        "reason_id": Argument(
            "name", ("误报原因编号，见 config/reasons.toml", "id of a reason of config/reasons.toml, to be counted")
        )
    },
    "duplicate": {"of": Argument("number", ("另一工单的编号", "number of the other ticket"))},
    "exempt": {
        "permit": Argument(
            "name",
            ("本街道台账中今日有效的备案编号", "number of an active permit of this street's register, good today"),
        ),
        "until_ms": Argument(
            "instant", ("最迟至当日结束，缺省即为当日结束", "end of the day at the latest, and where it is left out")
        ),
    },
    "dispatch": {"to": _TO},
    "inspect": {"to": _TO},
    "found": {"result": Argument("choice", ("核实结果", "what was found"), FINDINGS)},
    "close": {"outcome": Argument("choice", ("结果", "how it ended"), OUTCOMES)},
    "extend": {"due_ms": Argument("instant", ("新的时限，366 天之内", "the new deadline, within 366 days"))},
    "urge": {"urgency": Argument("choice", ("紧急程度", "how urgent"), URGENCIES)},
}
"""By verb, what persons and shops may give; nothing else is taken from them. Policies and cameras are our own code."""
_FOUND: Final = {(state, one.verb): one for one in TRANSITIONS for state in one.sources}


def find(state: str, verb: str) -> Transition | None:
    """The line for a verb in a state."""
    return _FOUND.get((State(state), verb))


def may(transition: Transition, kind: str, roles: Iterable[str]) -> bool:
    """Whether an actor of a kind, with these roles at the ticket's street, may."""
    return any(role in transition.who for role in roles) if kind == "person" else kind in transition.who


def argument_fault(verb: str, args: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with what a person or a shop gave with a verb, in English and Chinese; None for nothing."""
    known = ARGUMENTS.get(verb, {})
    strange = sorted(ascii(name)[:_LONGEST] for name in args if name not in known)
    if strange:
        takes, given = ", ".join(known), f"{', '.join(strange):.300}"
        return (
            f"args: {verb} takes {takes or 'none'}, got {given}",
            f"args：{verb} 的参数为 {takes or '无'}，收到 {given}",
        )
    for name, value in args.items():
        # what may be left out may be null
        if value is not None and not known[name].takes(value):
            return (
                f"{name}: expected {known[name].text}, got {value!a:.60}",
                f"{name}：应为{known[name].words[0]}（{known[name].text}），收到 {value!a:.60}",
            )
    return None


def allowed(state: str, kind: str, roles: Iterable[str]) -> tuple[str, ...]:
    """The verbs that the table has for an actor in a state; `desk.able` says which of them a very ticket takes."""
    roles = tuple(roles)
    return tuple(verb for verb in VERBS if (one := find(state, verb)) is not None and may(one, kind, roles))


SAYING: Final = """
## 谁先谁后、为何不行 / Who was quicker, and why not

`seen` is the `version` of the ticket that one looked at. Whoever acts at a page has to send it (`missing` without), but
for a `remark`; if somebody was quicker, it is refused as `changed`. A program with an API token may leave it out where
it does not matter what the ticket has become since: then only the state and these tables decide. Escalations, remarks
and what a camera saw when it was asked make no new version.

`allowed`, of a ticket and of a refusal, are the verbs that whoever asks may use with this very ticket now: not `review`
where it was reviewed, not `told` where the shop was told, not `register` before its minutes are over, and of what a
person reported not `confirm` before somebody has `found` that it `exists`. Whether the
arguments are good is seen with them.

| code | status | means |
| --- | --- | --- |
| `unknown` | 404 | there is no such ticket, or none at one's streets |
| `not_yours` | 403 | the verb is for others |
| `invalid`, `missing`, `unknown_verb` | 422 | what came is not what the verb takes |
| `changed` | 409 | somebody was quicker: look again |
| `not_now`, `another_open`, `unreviewed`, `unverified`, `untold`, `early`, `late`, `full`, `no_shop` | 409 | not now |
| `busy` | 503 | the database is away, or others were quicker several times: try again |
"""
"""What stands in the page beside the tables."""


def reference() -> str:
    """The page that is made of the table."""
    lines = [
        "# 工单的状态 / The states of a ticket",
        "",
        "Made from `collector/tickets/machine.py` by `python -m collector.tickets.machine docs/ref`; a test compares.",
        "Why it is so: [docs/design/tickets.md](../design/tickets.md).",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> pending_review",
    ]
    for one in TRANSITIONS:
        if one.verb not in ("appeal", "not_mine", "reject", "withdraw", "close"):
            lines += [f"    {a} --> {b}: {one.verb}" for a in one.sources for b in one.targets]
    lines += ["    note right of appealed", "        appeal, not_mine: from any state after noticed"]
    lines += ["        reject: back to where it was", "    end note"]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    lines += ["```", "", "`withdraw` and `close` end it from most states on the way; they are in the table alone.", ""]
    lines += ["## 状态 / States", "", "| state | 中文 | English | final |", "| --- | --- | --- | --- |"]
    lines += [f"| `{s}` | {WORDS[s][0]} | {WORDS[s][1]} | {'✓' if s in FINAL else ''} |" for s in State]
    lines += ["", "## 动作 / Verbs", "", "| verb | from | to | who | needs | meaning |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for one in TRANSITIONS:
        to = ", ".join(f"`{state}`" for state in one.targets) or "–"
        who, needs = ", ".join(one.who), ", ".join(one.needs)
        lines.append(
            f"| `{one.verb}` | {_states(one.sources)} | {to} | {who} | {needs} | {one.words[0]}<br>{one.words[1]} |"
        )
    lines += [
        "",
        "## 参数 / Arguments",
        "",
        "What persons and shops may give in `args`; all else is refused as `invalid`.",
        "",
    ]
    lines += ["| verb | argument | type | meaning |", "| --- | --- | --- | --- |"]
    for verb, known in ARGUMENTS.items():
        for name, one_of in known.items():
            lines.append(f"| `{verb}` | `{name}` | {one_of.text} | {one_of.words[0]}<br>{one_of.words[1]} |")
    lines += SAYING.rstrip().splitlines()
    roles = [*(role.value for role in Role), POLICY, CAMERA, SHOP]
    lines += ["", "## 谁在哪一状态可做什么 / Who may do what where", ""]
    lines += ["| state | " + " | ".join(roles) + " |", "| --- |" + " --- |" * len(roles)]
    for state in State:
        cells = []
        for role in roles:
            kind = role if role in (POLICY, CAMERA, SHOP) else "person"
            cells.append(", ".join(allowed(state, kind, (role,))) or "–")
        lines.append(f"| `{state}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _states(states: tuple[State, ...]) -> str:
    if set(states) == set(State):
        return "any"
    if set(states) == set(OPEN):
        return "any open"
    return ", ".join(f"`{state}`" for state in states)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    path = Path(arguments[0]) / "tickets.md"
    if "--check" in arguments:
        same = path.is_file() and path.read_text("utf-8") == reference()
        if not same:
            print(f"{path}: expected what the code says; run: python -m collector.tickets.machine {arguments[0]}")  # noqa: T201
        return 0 if same else 1
    path.write_text(reference(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
