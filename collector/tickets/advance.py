"""What happens to a ticket by itself: one pure function from what is known now to what is to be done now.

Nothing is remembered between two calls: whoever calls it again with the same facts gets the same answer, and an order
has a key that makes twice once. So a restart, two collectors, or a clock that was wrong lose nothing and tell nobody
twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from collector.tickets.machine import ENFORCED, FINAL, State
from collector.tickets.policy import Level, Policy
from collector.tickets.seams import UNTOLD, Cover, Order, Told

Sight = Literal["waiting", "clear", "occupied", "unseen"]
GLANCE_MS: Final = 24 * 3600 * 1000
"""An open ticket is looked at this often though nothing is due."""
GLANCED_MS: Final = 3 * 60 * 1000
"""What a camera's glance closed is looked at again after this long, if its box never said that the place is clear (it
does after a minute of seeing that): goods that were hidden for the glance stand there again."""
MOST_REASON: Final = 60
"""Characters of a reason in a message: an SMS has 70, and a second part room for the link."""
ASK_AGAIN_MS: Final = 5_000
"""How soon a reply that should have come is looked for again."""


@dataclass(frozen=True)
class Looked:
    """What boxes answered that were asked to look.

    Args:
        sight: `waiting` until all have answered, or can no longer.
        at_ms: picture time of the last answer.
        until_ms: when a missing answer is given up.
    """

    sight: Sight
    at_ms: int | None = None
    until_ms: int = 0
    text: str = ""


@dataclass(frozen=True)
class Quiet:
    """A pause that covers a ticket's place now."""

    number: int
    until_ms: int


@dataclass(frozen=True)
class Decided:
    """What a person decided about an objection: `uphold` or `reject`, their reason, the version that this made."""

    verb: str
    reason: str
    version: int


@dataclass(frozen=True)
class Former:
    """Who had it until somebody else was given it, or took it; the version that this made."""

    who: str
    version: int


@dataclass(frozen=True)
class Facts:
    """All that is known of a ticket.

    Args:
        version: of the row.
        present: something still stands there, as far as is known.
        clear_ms: since when every place of it is seen clear; None: it is not, or nobody saw it.
        came_after: something goes on there that came after it was closed.
        glanced: a camera's glance closed it, and the box still says that something goes on there.
        closed_ms: when it was closed.
        shop_minutes: that the shop has, for its notice.
        first_is_shop: the policy begins with the shop here.
        told: of this round's notice to the shop.
        told_by_notice: `told_ms` is what a notice said, not a person.
        taken_back: a notice said that the shop was told, and turned out not to have come.
        decided: what became of the shop's newest objection of this round, and why.
        former: who no longer has it.
        cover: a permit for all places where something stands.
        quiet: a pause for all of them.
        ask: boxes are to be asked to look, and were not yet.
        looked: what boxes answered; None: nobody was asked.
        by_hand: the permit is what a person said, not one of the register.
        entered, due_ms, due_entered, level, round, told_ms, shop_due_ms, paused_until_ms, permit: of the row.
    """

    number: int
    state: State
    rule: str
    street: str
    shop: str | None
    camera: str
    zone: str
    version: int
    round: int
    entered: int
    due_ms: int | None
    due_entered: int | None
    level: int
    present: bool
    late: bool
    assignee: str | None = None
    reviewed: bool = False
    told_ms: int | None = None
    shop_due_ms: int | None = None
    shop_minutes: int | None = None
    paused_until_ms: int | None = None
    permit: str | None = None
    by_hand: bool = False
    clear_ms: int | None = None
    came_after: bool = False
    glanced: bool = False
    closed_ms: int | None = None
    first_is_shop: bool = True
    told: Told = UNTOLD
    told_by_notice: bool = False
    taken_back: bool = False
    decided: Decided | None = None
    former: Former | None = None
    cover: Cover | None = None
    quiet: Quiet | None = None
    ask: bool = False
    looked: Looked | None = None


@dataclass(frozen=True)
class Act:
    """A step that is to be taken now.

    Args:
        by: whose step it is: the street's `policy`, or the `camera`.
    """

    verb: str
    by: Literal["policy", "camera"]
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is to be done now.

    Args:
        act: the next step; after it the facts are others, so that one asks again.
        orders: who is to be told; with a step, of a decision only, before it.
        look_ms: when to ask again if nothing comes before.
        ask: have the boxes look at the places now.
        set_due: the deadline of the present state is not there yet.
    """

    act: Act | None = None
    orders: tuple[Order, ...] = ()
    look_ms: int | None = None
    ask: bool = False
    set_due: bool = False


def advance(facts: Facts, policy: Policy, now_ms: int) -> Plan:
    """Say what is to be done with a ticket now.

    Args:
        facts: what is known.
        policy: that its present step began with.
        now_ms: the center's clock.
    """
    act, decision = _BY_STATE[facts.state](facts, policy, now_ms), tuple(_decision(facts, policy, now_ms))
    if act is not None:
        return Plan(act, decision)  # the step begins another state, in which nobody would know of it
    if facts.state in FINAL:
        return Plan(None, decision, _glance_again_ms(facts) or _exempt_until(facts, now_ms))
    if facts.due_entered != facts.entered:
        return Plan(set_due=True)
    if facts.state == State.PENDING_REVIEW and facts.paused_until_ms is not None:
        return Plan(look_ms=_ahead(facts.paused_until_ms, now_ms))
    late = _overdue(facts, policy, now_ms)
    if late is not None:
        return Plan(late)
    orders = tuple(_orders(facts, policy, now_ms))
    return Plan(None, orders, _next_look(facts, policy, now_ms), facts.ask)


def _ahead(at_ms: int, now_ms: int) -> int:
    """When to look: never at an instant that is over, or the ticket would be looked at again and again."""
    return at_ms if at_ms > now_ms else now_ms + GLANCE_MS


# the steps, by state


def _pending_review(facts: Facts, policy: Policy, now_ms: int) -> Act | None:
    if not facts.present:
        return None  # the inbox lapses it
    if facts.cover is not None:
        return _exempted(facts.cover)
    if facts.quiet is not None and facts.paused_until_ms != facts.quiet.until_ms:
        return Act("hold", "policy", {"pause": facts.quiet.number, "until_ms": facts.quiet.until_ms})
    if facts.paused_until_ms is not None:
        return None if facts.quiet is not None else Act("release", "policy")
    if (
        facts.shop is not None
        and facts.first_is_shop
        and not facts.late
        and policy.unreviewed_now(facts.rule, facts.camera, facts.zone, now_ms)
    ):
        return Act("notify", "policy")
    return None


def _exempted(cover: Cover) -> Act:
    return Act("exempt", "policy", {"permit": cover.number, "until_ms": cover.until_ms, "permit_id": cover.permit_id})


def _exempt(facts: Facts, _policy: Policy, now_ms: int) -> Act | None:
    if not facts.present or facts.cover is not None:
        return None
    holds = facts.by_hand and facts.due_ms is not None and now_ms < facts.due_ms and not facts.came_after
    return None if holds else Act("resume", "policy")


def _exempt_until(facts: Facts, now_ms: int) -> int | None:
    if facts.state != State.EXEMPT or not facts.present:
        return None
    until_ms = facts.cover.until_ms if facts.cover is not None else facts.due_ms
    return max(until_ms or 0, now_ms + 1000)


def _noticed(facts: Facts, policy: Policy, now_ms: int) -> Act | None:
    corrected = _corrected(facts)
    if corrected is not None:
        return corrected
    if facts.looked is not None and facts.looked.sight != "waiting":
        return _looked(facts.looked)
    heard = _heard(facts)
    if heard is not None or facts.told_ms is None:
        return heard
    if facts.shop_due_ms is not None and now_ms >= facts.shop_due_ms + policy.shop.grace_s * 1000:
        return Act("time_up", "policy")
    return None


def _heard(facts: Facts) -> Act | None:
    """What the notice to the shop says anew: that it came, or that it never came after all."""
    told = facts.told
    if facts.told_ms is None:
        came = told.state in ("sent", "delivered") and told.at_ms is not None
        return Act("told", "policy", {"told_ms": told.at_ms, "how": told.state}) if came else None
    taken_back = facts.told_by_notice and told.state in ("failed", "unsure", "waiting")
    return Act("untold", "policy", {"how": told.state}) if taken_back else None


def _corrected(facts: Facts) -> Act | None:
    """Seen clear within the shop's minutes, by the box itself or as it was asked."""
    limit_ms = facts.shop_due_ms
    if facts.clear_ms is not None and (limit_ms is None or facts.clear_ms <= limit_ms):
        return Act("correct", "camera", {"clear_ms": facts.clear_ms})
    looked = facts.looked
    seen_ms = looked.at_ms if looked is not None and looked.sight == "clear" else None
    if seen_ms is not None and (limit_ms is None or seen_ms <= limit_ms):
        return Act("correct", "camera", {"clear_ms": seen_ms})
    return None


def _looked(looked: Looked) -> Act:
    args = {"seen": looked.sight, "at_seen_ms": looked.at_ms}
    return Act("looked", "camera", args)


def _community(facts: Facts, _policy: Policy, _now_ms: int) -> Act | None:
    if facts.shop_due_ms is not None:
        # the message came late, the shop did not
        corrected = _corrected(facts)
        if corrected is not None:
            return corrected
    if facts.clear_ms is not None:
        return Act("solve", "camera", {"at_seen_ms": facts.clear_ms})
    looked = facts.looked
    if looked is not None and looked.sight == "clear":
        return Act("solve", "camera", {"at_seen_ms": looked.at_ms})
    return _heard(facts) if looked is None or looked.sight == "waiting" else _looked(looked)


def _enforced(facts: Facts, _policy: Policy, _now_ms: int) -> Act | None:
    """Once registered a notice may still turn out not to have come: that is put on record, and people are told."""
    return _heard(facts) if facts.told_by_notice or facts.taken_back else None


def _verifying(facts: Facts, policy: Policy, now_ms: int) -> Act | None:
    looked = facts.looked
    if looked is None or looked.sight == "waiting":
        return _enforced(facts, policy, now_ms)
    verb = {"clear": "verify_clear", "occupied": "verify_occupied"}.get(looked.sight, "verify_unseen")
    return Act(verb, "camera", {"at_seen_ms": looked.at_ms, "text": looked.text})


def _ended(facts: Facts, _policy: Policy, now_ms: int) -> Act | None:
    untold = _heard(facts) if facts.told_by_notice else None
    if untold is not None or not facts.present:
        return untold
    again_ms = _glance_again_ms(facts)
    stands = again_ms is not None and now_ms >= again_ms
    return Act("reopen", "camera") if facts.came_after or stands else None


def _glance_again_ms(facts: Facts) -> int | None:
    if not facts.glanced or facts.closed_ms is None:
        return None
    return facts.closed_ms + GLANCED_MS


_Course = Callable[[Facts, Policy, int], Act | None]


def _waits(_facts: Facts, _policy: Policy, _now_ms: int) -> Act | None:
    return None


_WAITING: Final[Mapping[State, _Course]] = dict.fromkeys(State, _waits)
_BY_STATE: Final[Mapping[State, _Course]] = {
    **_WAITING,
    **dict.fromkeys(State, _waits),
    State.PENDING_REVIEW: _pending_review,
    State.EXEMPT: _exempt,
    State.NOTICED: _noticed,
    State.COMMUNITY: _community,
    **dict.fromkeys(ENFORCED, _enforced),
    State.VERIFYING: _verifying,
    State.SELF_CORRECTED: _ended,
    State.CLOSED: _ended,
}


# deadlines


def _levels(facts: Facts, policy: Policy) -> list[tuple[int, Level]]:
    """When each level of the escalation is reached."""
    if facts.due_ms is None or (facts.state == State.NOTICED and facts.told_ms is not None):
        return []  # the shop's minutes lead on by themselves
    return [(level.after.after(facts.due_ms, policy.working_time), level) for level in policy.chain(facts.state)]


def _overdue(facts: Facts, policy: Policy, now_ms: int) -> Act | None:
    for number, (at_ms, level) in enumerate(_levels(facts, policy), 1):
        if number > facts.level and now_ms >= at_ms:
            return Act("escalate", "policy", {"level": number, "to": level.to, "whom": level.whom})
    return None


def _next_look(facts: Facts, policy: Policy, now_ms: int) -> int:
    edges = [now_ms + GLANCE_MS]
    edges += [at_ms for at_ms, _ in _levels(facts, policy)[facts.level :]]
    if facts.state == State.NOTICED and facts.shop_due_ms is not None:
        edges.append(facts.shop_due_ms + policy.shop.grace_s * 1000)
        remind_ms = _remind_ms(facts, policy)
        if remind_ms is not None:
            edges.append(remind_ms)
    if facts.state == State.PENDING_REVIEW and facts.shop is not None and facts.first_is_shop and not facts.late:
        begins_ms = policy.unreviewed_from_ms(facts.rule, facts.camera, facts.zone, now_ms)
        if begins_ms is not None:
            edges.append(begins_ms)
    if facts.looked is not None and facts.looked.sight == "waiting":
        edges.append(max(facts.looked.until_ms, now_ms + ASK_AGAIN_MS))
    return min((edge for edge in edges if edge > now_ms), default=now_ms + GLANCE_MS)


# who is told


def _remind_ms(facts: Facts, policy: Policy) -> int | None:
    """When the shop is reminded; not where the notice itself has only just come, nor in quiet hours."""
    minutes = policy.shop.remind_minutes
    if minutes is None or facts.shop_due_ms is None or facts.told_ms is None or facts.told.state == "none":
        return None
    at_ms = facts.shop_due_ms - minutes * 60_000
    if at_ms <= facts.told_ms or policy.not_before_ms("shop", at_ms) != at_ms:
        return None
    return at_ms


_TASKS: Final[Mapping[State, tuple[str, str]]] = {
    State.PENDING_REVIEW: ("alert", "operator"),
    State.COMMUNITY: ("task", "community"),
    State.REGISTERED: ("to_dispatch", "operator"),
    State.DISPATCHED: ("task", "officer"),
    State.REWORK: ("rework", "officer"),
    State.APPEALED: ("appeal", "operator"),
}
"""Who is told as a state begins, and in what kind of message."""


def _orders(facts: Facts, policy: Policy, now_ms: int) -> list[Order]:
    made: list[Order] = []

    def order(kind: str, audience: str, to: str = "", level: int = 0, *, once: str) -> None:
        made.append(
            Order(
                key=f"{facts.number}/{once}/{kind}/{level}",
                ticket=facts.number,
                kind=kind,
                audience=audience,
                to=to,
                street=facts.street,
                due_ms=facts.shop_due_ms if audience == "shop" else facts.due_ms,
                level=level,
                not_before_ms=policy.not_before_ms(audience, now_ms),
                minutes=facts.shop_minutes if kind == "shop_notice" else None,
            )
        )

    step, of_round = str(facts.entered), f"r{facts.round}"
    task = _TASKS.get(facts.state)
    if task is not None:
        kind, audience = task
        order(kind, audience, (facts.assignee or "") if audience == "officer" else "", once=step)
    if facts.former is not None:
        order("taken_over", "officer", facts.former.who, once=str(facts.former.version))
    if facts.state == State.NOTICED:
        if facts.shop is not None:
            # of this step, as a notice that was taken back by an appeal is to be ordered anew; one that is on its way,
            # or came to nothing, is not
            if facts.told_ms is None and facts.told.state == "none":
                order("shop_notice", "shop", facts.shop, once=step)
            remind_ms = _remind_ms(facts, policy)
            if remind_ms is not None and facts.shop_due_ms is not None and remind_ms <= now_ms < facts.shop_due_ms:
                order("shop_reminder", "shop", facts.shop, once=of_round)
        if not facts.reviewed:
            order("unreviewed", "operator", once=step)
    # none: its next channel was taken back as the ticket went on
    lost = facts.taken_back and facts.told.state == "none"
    unheard = (lost or facts.told.state in ("unsure", "failed")) and facts.told_ms is None
    if unheard and (facts.taken_back or facts.state not in ENFORCED):
        order("undelivered", "operator", once=of_round)
    if facts.state == State.VERIFYING and facts.looked is None and not facts.ask:
        order("unseen", "operator", once=step)
    for number, level in enumerate(policy.chain(facts.state)[: facts.level], 1):
        order("overdue" if number == 1 else "escalated", level.to, level.whom, number, once=f"{step}.{facts.due_ms}")
    # last: what begins the shop's minutes comes first where the policy allows it no more
    return made + _decision(facts, policy, now_ms)


def _decision(facts: Facts, policy: Policy, now_ms: int) -> list[Order]:
    """The shop hears what became of its objection."""
    if facts.decided is None or facts.shop is None:
        return []
    kind = "appeal_upheld" if facts.decided.verb == "uphold" else "appeal_rejected"
    return [
        Order(
            key=f"{facts.number}/{facts.decided.version}/{kind}/0",
            ticket=facts.number,
            kind=kind,
            audience="shop",
            to=facts.shop,
            street=facts.street,
            due_ms=None,
            level=0,
            not_before_ms=policy.not_before_ms("shop", now_ms),
            text=_shortened(facts.decided.reason),
        )
    ]


def _shortened(reason: str) -> str:
    """A reason as a message has room for it; the shop's page has all of it."""
    line = " ".join(reason.split())
    return line if len(line) <= MOST_REASON else f"{line[: MOST_REASON - 1]}…"
