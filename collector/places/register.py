"""Taking changes of shops, permits and cameras, one or a file of them, all or none.

All that is wrong is said at once. A file never removes anything: a record that is not in it stays as it is, and so does
a field that it has no column for.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy.orm import Session

from collector.places.columns import Column, Row, read_table, texts_of, values_of
from collector.places.faults import Fault, PlacesError, Text
from collector.places.history import Author, Step, keep
from collector.places.sheets import read_sheet
from collector.store import lock

LOCK: Final = "places"
"""Held while anything here changes: what is checked is still so when it is written."""
MAX_FAULTS: Final = 1000
"""More of them are counted, and not listed."""


class Record(Protocol):
    """What all records have."""

    @property
    def revision(self) -> int:
        """Of its newest change; 0 before it is kept."""

    @property
    def key(self) -> str:
        """What it is found by."""


T = TypeVar("T", bound=Any)


@dataclass(frozen=True)
class Change(Generic[T]):
    """One record, before and after.

    Args:
        row: of its file; None for a single change.
        unread: fields of which the file says nothing that could be read: `after` has something else there.
    """

    row: int | None
    before: T | None
    after: T
    unread: frozenset[str] = frozenset()


@dataclass
class Findings:
    """What a check found; a fault refuses everything, a warning only says something.

    `by` names further fields that a finding comes from: with one of them unread, nothing can be said of it.
    """

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, change: Change[Any], name: str, code: str, zh: str, en: str, *, by: Iterable[str] = ()) -> None:
        """Refuse."""
        if not change.unread & {name, *by}:
            self.faults.append(Fault(code, Text(zh, en), change.row, name))

    def warn(self, change: Change[Any], name: str, code: str, zh: str, en: str, *, by: Iterable[str] = ()) -> None:
        """Say."""
        if not change.unread & {name, *by}:
            self.warnings.append(Fault(code, Text(zh, en), change.row, name))


@dataclass(frozen=True)
class Around:
    """What a check is told of the center: region code, time, and whether who asks may change a street."""

    region: str = ""
    now_ms: int = 0
    allows: Callable[[str], bool] = lambda _street: True


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of record.

    Args:
        name: `shop`, `permit` or `camera`; `zh` for people.
        key: the fields that a record is found by, joined with `/`.
        new: a record with nothing in it; fields of a file are put into it.
        find: records by their keys.
        whole: completes a record, such as a permit's street by its shop.
        check: what is wrong with changes, together and with all that is there.
        save: writes the rows, not the history.
        action: what a change is called.
    """

    name: str
    zh: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    new: T
    find: Callable[[Session, Collection[str]], dict[str, T]]
    whole: Callable[[Session, Sequence[Change[T]]], list[Change[T]]]
    check: Callable[[Session, Sequence[Change[T]], Around, Findings], None]
    save: Callable[[Session, Sequence[Change[T]], Author], None]
    action: Callable[[T | None, T], str]

    def key_of(self, values: Mapping[str, Any]) -> str:
        """Key of a record that has these fields."""
        return "/".join(str(values[name]) for name in self.key)


@dataclass(frozen=True)
class Report:
    """What became of a file.

    Args:
        how: it was read: sort of file, encoding, separator or sheet.
        source: SHA-256 of the file.
        dry_run: nothing was to be written.
    """

    kind: str
    how: str
    source: str
    dry_run: bool
    rows: int
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()

    @property
    def good(self) -> bool:
        """Whether it was taken, or would be."""
        return not self.faults

    def as_json(self) -> dict[str, object]:
        """For the API."""
        return {
            "kind": self.kind,
            "how": self.how,
            "source": self.source,
            "dry_run": self.dry_run,
            "taken": self.good and not self.dry_run,
            "rows": self.rows,
            "added": self.added,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "fault_count": len(self.faults),
            "faults": [fault.as_json() for fault in self.faults[:MAX_FAULTS]],
            "warning_count": len(self.warnings),
            "warnings": [fault.as_json() for fault in self.warnings[:MAX_FAULTS]],
        }


def import_file(
    session: Session,
    kind: Kind[T],
    content: bytes,
    author: Author,
    around: Around,
    *,
    dry_run: bool = False,
    encoding: str | None = None,
) -> Report:
    """Take a file, wholly or not at all; never raises for what is in it.

    Args:
        session: a transaction that writes (`Store.writing`).
        kind: of the records.
        content: the file.
        author: who imports it; `source` is filled in.
        around: see there.
        dry_run: only say what would become of it.
        encoding: of a CSV, where it is known.
    """
    source = hashlib.sha256(content).hexdigest()
    lock(session, [LOCK])
    findings = Findings()
    how = ""
    try:
        sheet = read_sheet(content, encoding)
        how = sheet.how
        table = read_table(sheet, kind.columns, kind.key, findings.faults)
    except PlacesError as fault:
        return Report(kind.name, how, source, dry_run, 0, faults=tuple(fault.faults))
    changes = _changes(session, kind, [row for row in table.rows if not row.unread & {*kind.key}], findings)
    changes = kind.whole(session, changes)
    real = [change for change in changes if change.before != change.after]
    kind.check(session, changes, around, findings)
    _check_streets(changes, around, findings)
    if not findings.faults and not dry_run:
        apply(session, kind, real, replace(author, source=source))
    added = sum(change.before is None for change in real)
    return Report(
        kind=kind.name,
        how=how,
        source=source,
        dry_run=dry_run,
        rows=len(sheet.lines) - 1,
        added=added,
        changed=len(real) - added,
        unchanged=len(changes) - len(real),
        faults=_in_order(findings.faults, table.headings),
        warnings=_in_order(findings.warnings, table.headings),
    )


def _in_order(faults: Sequence[Fault], headings: Mapping[str, str]) -> tuple[Fault, ...]:
    named = [one if one.column or one.field is None else replace(one, column=headings.get(one.field)) for one in faults]
    return tuple(sorted(named, key=lambda one: one.row or 0))


def change(
    session: Session,
    kind: Kind[T],
    given: Mapping[str, object],
    author: Author,
    around: Around,
    *,
    new: bool | None = None,
    seen: int | None = None,
) -> tuple[T, Sequence[Fault]]:
    """Add or change one record; raises PlacesError. Returns it, and warnings.

    Args:
        session: a transaction that writes (`Store.writing`).
        kind: of the record.
        given: its key, and the fields that are to be set.
        author: who does it.
        around: see there.
        new: True: it must not be there yet; False: it must.
        seen: the revision that the author looked at; refused where there is a newer one.
    """
    lock(session, [LOCK])
    values = values_of(kind.columns, given)
    missing = [name for name in kind.key if name not in values]
    if missing:
        raise PlacesError(
            [Fault("missing", Text("不能为空", "expected a value, found none"), field=name) for name in missing]
        )
    key = kind.key_of(values)
    before = kind.find(session, [key]).get(key)
    if new is True and before is not None:
        raise PlacesError.of(
            "exists", f"{kind.zh} {key} 已登记", f"{kind.name} {key} is registered already", kind.key[-1]
        )
    if new is False and before is None:
        raise unknown(kind, key)
    check_seen(kind, key, before, seen)
    findings = Findings()
    changes = kind.whole(session, _changes(session, kind, [Row(None, values)], findings))
    if not findings.faults:
        kind.check(session, changes, around, findings)
        _check_streets(changes, around, findings)
    if findings.faults:
        raise PlacesError(findings.faults)
    apply(session, kind, [one for one in changes if one.before != one.after], author)
    return kind.find(session, [key])[key], findings.warnings


def unknown(kind: Kind[T], key: str) -> PlacesError:
    """There is no such record."""
    return PlacesError.of("unknown", f"没有登记 {kind.zh} {key}", f"there is no {kind.name} {key}", kind.key[-1])


def check_seen(kind: Kind[T], key: str, before: Record | None, seen: int | None) -> None:
    """Refuse a change of what somebody else has changed meanwhile."""
    newest = 0 if before is None else before.revision
    if seen is not None and seen != newest:
        raise PlacesError.of(
            "changed",
            f"{kind.zh} {key} 已被他人改为第 {newest} 版（您看的是第 {seen} 版）；请重新打开再改",
            f"{kind.name} {key}: expected a change of revision {newest}, the newest, got one of {seen}; look again",
        )


def _changes(session: Session, kind: Kind[T], rows: Sequence[Row], findings: Findings) -> list[Change[T]]:
    """Put the fields of rows into the records that they are of."""
    keyed = [(kind.key_of(row.values), row) for row in rows]
    known = kind.find(session, {key for key, _ in keyed})
    required = [column for column in kind.columns if column.required]
    first: dict[str, int | None] = {}
    found = []
    for key, row in keyed:
        if key in first:
            text = Text(f"{key} 在第 {first[key]} 行已出现", f"{key} stands in row {first[key]} already; remove one")
            findings.faults.append(Fault("twice", text, row.number, kind.key[-1]))
            continue
        first[key] = row.number
        before = known.get(key)
        missing = [column for column in required if before is None and column.field not in {*row.values, *row.unread}]
        for column in missing:
            text = Text(f"新{kind.zh}必须有 {column.zh}", f"expected {column.field} for a new {kind.name}, found none")
            findings.faults.append(Fault("missing", text, row.number, column.field))
        unread = row.unread.union(column.field for column in missing)
        found.append(Change(row.number, before, replace(kind.new if before is None else before, **row.values), unread))
    return found


def _check_streets(changes: Sequence[Change[T]], around: Around, findings: Findings) -> None:
    for one in changes:
        streets = {one.after.street, one.after.street if one.before is None else one.before.street}
        for street in sorted(street for street in streets if not around.allows(street)):
            findings.fault(
                one, "street", "not_allowed", f"您无权更改街道 {street}", f"you may not change street {street}"
            )


def apply(session: Session, kind: Kind[T], changes: Sequence[Change[T]], author: Author) -> None:
    """Write changes that were checked, with their history."""
    if not changes:
        return
    numbered = [
        replace(one, after=replace(one.after, revision=1 if one.before is None else one.before.revision + 1))
        for one in changes
    ]
    kind.save(session, numbered, author)
    steps = [
        Step(
            one.after.key,
            one.after.revision,
            kind.action(one.before, one.after),
            None if one.before is None else texts_of(kind.columns, one.before),
            texts_of(kind.columns, one.after),
        )
        for one in numbered
    ]
    keep(session, kind.name, steps, author)


def export_rows(kind: Kind[T], records: Sequence[T], *, chinese: bool = True) -> list[list[str]]:
    """Heading and rows that `import_file` takes as they are."""
    head = [column.zh if chinese else column.field for column in kind.columns]
    return [head, *(list(texts_of(kind.columns, record).values()) for record in records)]
