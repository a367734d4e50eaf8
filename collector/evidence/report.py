"""The paper of a package, for people: what was seen, by whom it was reviewed, what was done, and what the seals say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.evidence.package import REPORT, Bundle, gather, put_pictures, sign
from collector.evidence.signing import open_key
from collector.papers.pdf import Paper
from collector.people.actor import Actor
from collector.store import Ticket
from collector.web import audit_words, words
from collector.web.language import say

SEALS: Final = {"good": "完好 / good", "broken": "已破损 / broken", "unknown": "未验证 / not verified"}
MOST_LINES: Final = 400
"""Of the time line; all of them are in timeline.json."""


@dataclass(frozen=True)
class Press:
    """What packages of a center are made with.

    Args:
        center: its name.
        zone: of instants on paper.
        face: a typeface of `papers`.
        data_dir: where the center's key lies.
    """

    center: str
    zone: ZoneInfo
    face: str
    data_dir: Path

    def gather(self, session: Session, actor: Actor, ticket: Ticket, reason: str, now_ms: int) -> Bundle:
        """What is said of a ticket, and that a package is made of it, on record."""
        return gather(session, actor, ticket, reason, self.center, now_ms)

    def package(self, bundle: Bundle, files: PictureFiles) -> bytes:
        """The signed package; outside of a transaction, as files may be slow. Raises OSError, AuthorityError."""
        key = open_key(self.data_dir)
        put_pictures(bundle, files)
        put_report(bundle, self.zone, self.face)
        return sign(bundle, key)


def put_report(bundle: Bundle, zone: ZoneInfo, face: str) -> None:
    """Add the PDF to a package that is not signed yet."""
    facts = bundle.manifest
    made_at = datetime.fromisoformat(facts["made_at"])
    title = f"证据材料 Evidence · 工单 #{facts['ticket']}"
    paper = Paper(title=title, center=facts["center"], face=face, made_at=made_at, foot=f"made {facts['made_at']}")
    paper.pairs(
        {
            "案件编号 Case number": facts["case_number"] or "—",
            "状态 State": _both(words.STATES, facts["state"]),
            "类别 Rule": _both(words.RULES, facts["rule"]),
            "商户 Shop": facts["shop"] or "—",
            "位置 Box / camera / zone": facts["place"],
            "出现 Seen since": _local(facts["opened_at"], zone),
            "清除 Clear since": _local(facts["cleared_at"], zone),
            "核实人 Reviewed by": facts["reviewed_by"]
            or "无人核实：图片不作为证据 nobody: the pictures are no evidence",
            "核实时间 Reviewed at": _local(facts["reviewed_at"], zone),
            "制作 Made by": f"{facts['made_by']}，{_local(facts['made_at'], zone)}",
            "理由 Reason": facts["reason"],
        }
    )
    paper.heading("图片 Pictures")
    for one in facts["pictures"]:
        seal = one["seal"]
        said = "无 none" if seal is None else SEALS.get(seal["state"], seal["state"])
        bare = "" if one["masked"] else " · 未遮挡人脸 faces are not masked"
        counts = "是 yes" if one["evidence"] else f"否 no ({one['no_evidence_because']})"
        caption = (
            f"{_both(words.ROLES, one['role'])} · {_both(words.VIEWS, one['view'])} · {_local(one['taken_at'], zone)}"
            f" · 拍摄 by {one['taken_by']}\n"
            f"封印 seal: {said} · 作为证据 evidence: {counts}{bare}\nSHA-256 {one['sha256']}"
        )
        if one["file"] is None:
            paper.paragraph(
                f"没有图片 no picture: {one['deleted'] or one['no_evidence_because']}\n{caption}", small=True
            )
        else:
            paper.picture(bundle.files[one["file"]], caption)
    paper.heading("经过 Time line")
    paper.table(
        ["时间 When", "事项 What", "人员 Who", "理由 Reason"],
        [_row(one, zone) for one in json.loads(bundle.files["timeline.json"])[:MOST_LINES]],
        widths=[2.2, 3, 3, 3],
    )
    looks = [one for one in json.loads(bundle.files["access.json"]) if one["action"].startswith("evidence.")]
    paper.heading("查阅记录 Who looked at the originals")
    paper.table(
        ["时间 When", "人员 Who", "事项 What", "理由 Reason"],
        [_look(one, zone) for one in looks],
        widths=[2.2, 3, 3, 3],
    )
    paper.paragraph(
        "验证：cityeye-collector evidence verify 文件.zip（无需联网）。"
        "To verify this package offline: cityeye-collector evidence verify FILE.zip --key CENTER_KEY",
        small=True,
    )
    bundle.files[REPORT] = paper.finish()


def _row(one: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    return [_local(one["at"], zone), _both(words.EVENTS, one["kind"]), one["who"], one["reason"]]


def _both(table: Mapping[str, Any], value: str) -> str:
    text = table.get(value, value)
    zh, en = say(text, "zh"), say(text, "en")
    return zh if zh == en else f"{zh} {en}"


def _look(one: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    detail = one["detail"]
    who = " ".join(str(part) for part in (detail.get("name"), detail.get("unit"), one["actor"]) if part)
    what = f"{_both(audit_words.ACTIONS, one['action'])} {one['object']}"
    return [_local(one["at"], zone), who, what, str(detail.get("reason", ""))]


def _local(at: str | None, zone: ZoneInfo) -> str:
    return "—" if at is None else f"{datetime.fromisoformat(at).astimezone(zone):%Y-%m-%d %H:%M:%S}"
