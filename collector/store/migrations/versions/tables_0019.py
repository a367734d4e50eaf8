"""The tables as they were when the first migrations became one."""

import functools
from typing import Any

import sqlalchemy as sa
from alembic import op

from collector.store.tables import Base

revision = "0019"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS: dict[str, Any] = {
    "number": _NUMBER,
    "text": sa.Text(),
    "big": sa.BigInteger(),
    "integer": sa.Integer(),
    "real": sa.Float(),
    "boolean": sa.Boolean(),
    "binary": sa.LargeBinary(),
}


def _table(
    tables: sa.MetaData,
    name: str,
    *,
    key: str = "",
    serial: str = "",
    refers: dict[str, str] | None = None,
    defaults: dict[str, str] | None = None,
    index: str = "",
    indices: dict[str, str] | None = None,
    unique: dict[str, str] | None = None,
    **columns: str,
) -> sa.Table:
    """Add a table.

    `columns` gives names for each kind, those that may be null with a `?`; `serial` is a primary key that counts up by
    itself, `key` names columns of any other. `index` lists columns with an index of their own, `indices` and `unique`
    name what goes over several.
    """
    table = sa.Table(name, tables)
    if serial:
        table.append_column(sa.Column(serial, _NUMBER, primary_key=True, autoincrement=True))
    for kind, names in columns.items():
        for column in names.split():
            plain = column.removesuffix("?")
            table.append_column(
                sa.Column(
                    plain,
                    _KINDS[kind],
                    primary_key=plain in key.split(),
                    autoincrement=False,
                    nullable=plain != column,
                    server_default=(defaults or {}).get(plain),
                    index=plain in index.split() or None,
                )
            )
    for column, target in (refers or {}).items():
        table.append_constraint(sa.ForeignKeyConstraint([column], [target]))
    for label, names in (unique or {}).items():
        table.append_constraint(sa.UniqueConstraint(*names.split(), name=label))
    for label, names in (indices or {}).items():
        sa.Index(label, *(table.c[column] for column in names.split()))
    return table


def _tables() -> sa.MetaData:  # noqa: PLR0915 - a list
    """All of them; made only when asked for, as Alembic reads this file whenever a database is opened."""
    tables = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    table = functools.partial(_table, tables)
    table(
        "box",
        key="id",
        text="id site public_key? state version boot_id health? encryption_key? listed? clock_boot? standing "
        "replaced_by?",
        big="state_since_ms seen_ms health_ms? listed_ms? started_ms?",
        defaults={"standing": "guest"},
    )
    table(
        "claim",
        serial="id",
        text="code_sha256 box_id key_sha256? serial?",
        big="created_ms expires_ms",
        integer="attempts",
        refers={"box_id": "box.id"},
        index="box_id",
        unique={"uq_claim_code_sha256": "code_sha256"},
    )
    table(
        "certificate",
        key="serial",
        text="serial usage name key_sha256 pem",
        big="issued_ms not_after_ms revoked_ms?",
        index="name",
    )
    table("secret", key="name", text="name value")
    table(
        "camera",
        key="box_id camera",
        text="box_id camera state text learning unavailable",
        big="since_ms",
        integer="restarts",
        defaults={"learning": "[]", "unavailable": "[]"},
        refers={"box_id": "box.id"},
    )
    table(
        "message",
        key="id",
        text="id box_id incident type payload",
        integer="seq",
        big="at_ms? received_ms",
        refers={"box_id": "box.id"},
        index="incident",
    )
    ticket = table(
        "ticket",
        serial="number",
        text=(
            "key rule shop? box_id? camera zone source state street back? reviewer? due_kind urgency assignee? "
            "case_number? outcome? permit? found? verdict"
        ),
        integer=(
            "open reopened late present version entered news due_entered? level round ordered? offences verify? "
            "fed_back reworked overdue"
        ),
        big=(
            "opened_ms created_ms changed_ms cleared_ms? look_ms? since_ms acted_ms? closed_ms? mark reviewed_ms? "
            "due_ms? told_ms? shop_due_ms? shop_asked_ms? paused_until_ms? left_ms? first_told_ms? registered_ms?"
        ),
        number="repeat_of? policy? duplicate_of? pause?",
        defaults={
            "due_kind": "",
            "entered": "1",
            "fed_back": "0",
            "late": "0",
            "level": "0",
            "mark": "0",
            "news": "0",
            "offences": "0",
            "overdue": "0",
            "present": "0",
            "reworked": "0",
            "round": "1",
            "since_ms": "0",
            "source": "video",
            "street": "",
            "urgency": "normal",
            "verdict": "",
            "version": "1",
        },
        refers={"box_id": "box.id", "repeat_of": "ticket.number"},
        index="changed_ms duplicate_of key look_ms repeat_of",
        indices={
            "ix_ticket_camera": "box_id camera number",
            "ix_ticket_list": "open number",
            "ix_ticket_mark": "street opened_ms mark",
            "ix_ticket_state": "state number",
            "ix_ticket_street": "street number",
        },
    )
    incident = table(
        "incident",
        key="id",
        text="id box_id state clock visibility data",
        number="ticket_number",
        integer="seq late",
        big="opened_ms cleared_ms? ended_ms? received_ms?",
        defaults={"clock": "told", "late": "0"},
        refers={"box_id": "box.id", "ticket_number": "ticket.number"},
        index="ticket_number",
    )
    table(
        "ticket_event",
        serial="id",
        number="ticket_number",
        text="kind message_id? detail author reason before?",
        big="at_ms received_ms",
        defaults={"author": "camera", "reason": ""},
        refers={"ticket_number": "ticket.number"},
        index="ticket_number",
    )
    table(
        "picture",
        key="id",
        text="id box_id? incident role view sha256 author deleted_why",
        integer="bytes masked",
        big="received_ms taken_ms? width? height? deleted_ms? deleted_line?",
        defaults={"author": "", "deleted_why": "", "masked": "1"},
        refers={"box_id": "box.id"},
        index="incident received_ms sha256",
        unique={"uq_picture_place": "incident role view sha256"},
    )
    table(
        "refused",
        serial="id",
        text="box topic message_id? code text head",
        integer="bytes",
        big="received_ms",
        defaults={"box": "", "bytes": "0"},
        index="box",
    )
    table(
        "command",
        key="id",
        text="id box_id verb args by state code text data",
        big="asked_ms expires_ms sent_ms? replied_ms?",
        refers={"box_id": "box.id"},
        index="box_id state",
    )
    table(
        "acceptance",
        key="command_id",
        text="command_id by handed_over_by note",
        big="at_ms",
        refers={"command_id": "command.id"},
    )
    table(
        "command_picture",
        key="command_id view",
        text="command_id view role sha256",
        binary="jpeg",
        big="received_ms",
        refers={"command_id": "command.id"},
        index="received_ms",
    )
    table(
        "settings_wanted",
        serial="number",
        text="box_id document digest by state errors answers?",
        big="revision? based_on made_ms sent_ms?",
        refers={"box_id": "box.id"},
        index="box_id sent_ms",
        unique={"uq_settings_wanted_revision": "box_id revision"},
    )
    table(
        "settings_reported",
        key="box_id",
        text="box_id digest state errors",
        big="revision wanted? received_ms",
        refers={"box_id": "box.id"},
    )
    table("ledger", key="number", big="number at_ms", text="items before hash")
    table(
        "seal",
        key="picture_id",
        text="picture_id box_id incident link prev? state why",
        big="at_ms",
        refers={"box_id": "box.id"},
        index="box_id incident link prev",
    )
    table(
        "legal_hold",
        serial="number",
        number="ticket_number",
        text="by why lifted_by?",
        big="since_ms lifted_ms?",
        refers={"ticket_number": "ticket.number"},
        index="ticket_number",
    )
    table(
        "report",
        key="ticket_number",
        number="ticket_number",
        text="code description address cell reference? author",
        real="lon? lat?",
        refers={"ticket_number": "ticket.number"},
        unique={"uq_report_reference": "author reference"},
    )
    table(
        "webhook",
        key="id",
        text="id url street kinds secret stopped",
        integer="active",
        big="created_ms",
        defaults={"active": "1", "stopped": ""},
    )
    delivery = table(
        "webhook_delivery",
        key="webhook_id event_id",
        text="webhook_id state said",
        number="event_id",
        integer="tries",
        big="due_ms done_ms?",
        refers={"event_id": "ticket_event.id"},
        index="event_id",
        indices={"ix_webhook_delivery_due": "state due_ms"},
    )
    table("packed_day", key="street from_ms until_ms", text="street", big="from_ms until_ms marks", binary="pack")
    table(
        "footfall",
        key="box_id camera zone from_ms",
        text="box_id camera zone",
        big="from_ms",
        integer="looks most lower_bound",
        real="mean",
        refers={"box_id": "box.id"},
        index="from_ms",
    )
    table(
        "training_release",
        key="sha256",
        text="sha256 by why",
        number="ticket",
        big="at_ms",
        refers={"ticket": "ticket.number"},
        index="ticket",
    )
    table(
        "policy",
        serial="number",
        text="street document author reason",
        integer="revision",
        big="made_ms",
        defaults={"reason": ""},
        unique={"uq_policy_revision": "street revision"},
    )
    table(
        "pause",
        serial="number",
        text="street box_id camera zone? reason author ended_by?",
        big="from_ms until_ms",
        indices={"ix_pause_place": "box_id camera until_ms"},
    )
    table("case_serial", key="region day", text="region day", integer="last")
    table(
        "notice",
        serial="number",
        text="key kind audience recipient street level text day state code reason",
        number="ticket_number? copy_of?",
        integer="minutes? step tries doubt",
        big="due_ms? not_before_ms expires_ms created_ms changed_ms next_ms attempt? told_ms?",
        refers={"ticket_number": "ticket.number"},
        index="copy_of ticket_number",
        indices={"ix_notice_due": "state next_ms", "ix_notice_shop": "audience recipient day"},
        unique={"uq_notice_key": "key"},
    )
    table(
        "notice_attempt",
        serial="number",
        number="notice_number",
        text="request channel address body outcome code text provider",
        big="started_ms ended_ms? report_ms?",
        refers={"notice_number": "notice.number"},
        index="notice_number",
        indices={"ix_notice_attempt_channel": "channel started_ms", "ix_notice_attempt_report": "report_ms"},
    )
    table(
        "notice_link",
        key="token_sha256",
        text="token_sha256 shop language",
        number="attempt_number notice_number ticket_number",
        big="created_ms expires_ms",
        refers={
            "attempt_number": "notice_attempt.number",
            "notice_number": "notice.number",
            "ticket_number": "ticket.number",
        },
        index="attempt_number expires_ms notice_number",
    )
    table(
        "notice_answer",
        serial="number",
        number="notice_number ticket_number",
        text="shop verb text code",
        big="at_ms",
        refers={"notice_number": "notice.number", "ticket_number": "ticket.number"},
        index="notice_number ticket_number",
    )
    table(
        "person",
        key="id",
        text="id name unit phone mail password? totp? totp_asked? sso_issuer? sso_subject?",
        big="password_ms? totp_step? created_ms disabled_ms?",
        integer="password_once",
        defaults={"mail": "", "phone": "", "unit": ""},
        unique={"uq_person_sso": "sso_issuer sso_subject"},
    )
    table(
        "person_grant",
        key="person_id role street",
        text="person_id role street by",
        big="at_ms",
        refers={"person_id": "person.id"},
    )
    table("recovery_code", key="person_id code_sha256", text="person_id code_sha256", refers={"person_id": "person.id"})
    table(
        "sign_in",
        key="id_sha256",
        text="id_sha256 person_id stage method address browser",
        big="created_ms seen_ms expires_ms",
        integer="failures",
        refers={"person_id": "person.id"},
        index="expires_ms person_id",
    )
    table(
        "api_token",
        key="id",
        text="id person_id name secret_sha256 grants",
        big="created_ms expires_ms used_ms? revoked_ms?",
        refers={"person_id": "person.id"},
        index="person_id",
        unique={"uq_api_token_secret_sha256": "secret_sha256"},
    )
    table("sign_in_failure", key="key", text="key", integer="count", big="last_ms", index="last_ms")
    table("sso_flow", key="id_sha256", text="id_sha256 state nonce verifier go_on", big="expires_ms")
    table(
        "audit",
        key="number",
        big="number at_ms",
        text="actor action object detail before hash",
        index="object",
        indices={"ix_audit_actor": "actor number"},
    )
    table(
        "shop",
        key="id",
        text="id name street address business owner phone other_phone email language zones note state",
        integer="revision",
        real="lon? lat?",
        big="changed_ms",
        index="street",
    )
    table(
        "shop_zone",
        key="box_id camera zone",
        text="box_id camera zone shop_id",
        refers={"shop_id": "shop.id"},
        index="shop_id",
    )
    table(
        "permit",
        serial="id",
        text="number issuer business street shop_id? zones area from_day until_day weekdays hours excluded note state",
        integer="revision",
        big="withdrawn_ms? changed_ms",
        refers={"shop_id": "shop.id"},
        index="shop_id street",
        indices={"ix_permit_days": "until_day from_day"},
        unique={"uq_permit_number": "number"},
    )
    table(
        "grid_cell",
        key="code",
        text="code name rings state",
        integer="revision",
        real="west south east north area_m2",
        big="changed_ms",
        indices={"ix_grid_cell_box": "state west east"},
    )
    table(
        "camera_place",
        key="box_id camera",
        text="box_id camera street name gb28181? cell note",
        integer="revision",
        real="lon? lat? height_m?",
        big="changed_ms",
        index="street",
        unique={"uq_camera_place_gb28181": "gb28181"},
    )
    table(
        "place_revision",
        key="kind of revision",
        text="kind of action document by by_name reason source",
        integer="revision",
        big="at_ms",
        index="at_ms",
    )
    table(
        "proposal",
        serial="number",
        text="street text key state answer decided_by",
        number="of?",
        big="received_ms decided_ms?",
        refers={"of": "proposal.number"},
        index="of",
        indices={"ix_proposal_street": "street state"},
        unique={"uq_proposal_key": "key"},
    )
    table(
        "detector",
        key="sha256",
        text="sha256 name signed",
        big="added_ms",
        binary="content",
        unique={"uq_detector_name": "name"},
    )
    table(
        "rollout",
        serial="number",
        text="sha256 state why by",
        integer="group",
        real="most",
        big="started_ms",
        refers={"sha256": "detector.sha256"},
    )
    table(
        "rollout_box",
        key="number box_id",
        number="number",
        text="box_id state text",
        integer="group",
        boolean="due",
        big="since_ms",
        refers={"box_id": "box.id", "number": "rollout.number"},
        index="due",
    )

    delivery.append_constraint(sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], ondelete="CASCADE"))
    is_open = sa.text("open = 1")
    sa.Index("ix_ticket_one_open", ticket.c.key, unique=True, sqlite_where=is_open, postgresql_where=is_open)
    sa.Index("ix_ticket_case_number", ticket.c.case_number, unique=True)
    going = sa.text("state IN ('open', 'orphaned')")
    sa.Index("ix_incident_going", incident.c.opened_ms, sqlite_where=going, postgresql_where=going)
    return tables


_INTO = (
    "INSERT INTO webhook_delivery (webhook_id, event_id, state, tries, due_ms, said) "
    "SELECT w.id, NEW.id, 'waiting', 0, 0, '' FROM webhook w WHERE w.active = 1 AND "
    "CASE WHEN w.kinds = '' THEN NEW.kind NOT IN ('incident_updated', 'due', 'looked') "
    "ELSE ',' || w.kinds || ',' LIKE '%,' || NEW.kind || ',%' END "
    "AND (w.street = '' OR w.street = (SELECT t.street FROM ticket t WHERE t.number = NEW.ticket_number));"
)
"""What changes nothing a webhook hears only if it names it."""
# The outbox is written in the database, as lines are written by many hands: whatever is committed is in it, and nothing
# else is. SQLite's INSERT OR REPLACE deletes without calling a trigger of DELETE: hence audit_append,
# which also keeps the numbers without gaps and the chain whole
_TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER webhook_outbox AFTER INSERT ON ticket_event BEGIN {_INTO} END",
        """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
       BEGIN SELECT RAISE(ABORT, 'lines of the audit log are never changed'); END""",
        """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
       BEGIN SELECT RAISE(ABORT, 'lines of the audit log are never deleted'); END""",
        """CREATE TRIGGER audit_append BEFORE INSERT ON audit
       WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)
         OR NEW.before <> coalesce((SELECT hash FROM audit ORDER BY number DESC LIMIT 1), NEW.before)
       BEGIN SELECT RAISE(ABORT, 'lines of the audit log are only appended'); END""",
    ),
    "postgresql": (
        f"CREATE FUNCTION webhook_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_INTO} RETURN NULL; END $$",
        "CREATE TRIGGER webhook_outbox AFTER INSERT ON ticket_event FOR EACH ROW EXECUTE FUNCTION webhook_outbox()",
        """CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'lines of the audit log are never changed or deleted'; END $$""",
        """CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql AS $$
       DECLARE last RECORD;
       BEGIN
         SELECT number, hash INTO last FROM audit ORDER BY number DESC LIMIT 1;
         IF NEW.number <> coalesce(last.number, 0) + 1 OR NEW.before <> coalesce(last.hash, NEW.before) THEN
           RAISE EXCEPTION 'lines of the audit log are only appended';
         END IF;
         RETURN NEW;
       END $$""",
        """CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
       FOR EACH ROW EXECUTE FUNCTION audit_refuse()""",
        """CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
       FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()""",
        """CREATE TRIGGER audit_append BEFORE INSERT ON audit
       FOR EACH ROW EXECUTE FUNCTION audit_append()""",
    ),
}


def upgrade() -> None:
    """Make the tables and triggers."""
    connection = op.get_bind()
    _tables().create_all(connection)
    for line in _TRIGGERS[connection.dialect.name]:
        op.execute(line)
