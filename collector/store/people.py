"""Tables of people and of what they did."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from collector.store.tables import Base, Key, Small


class PersonRow(Base):
    """Somebody who may sign in. Never deleted and never renamed: the audit log names them."""

    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("sso_issuer", "sso_subject", name="uq_person_sso"),)

    id: Mapped[Key]
    """What they sign in with."""
    name: Mapped[str]
    unit: Mapped[str] = mapped_column(default="", server_default="")
    """Whose they are: what looks at originals is recorded with it; empty: the center's."""
    phone: Mapped[str] = mapped_column(default="", server_default="")
    """Where they are told of their tasks; empty for none, like `mail`."""
    mail: Mapped[str] = mapped_column(default="", server_default="")
    password: Mapped[str | None]
    """Argon2id in the PHC format; null: they sign in elsewhere, or not at all."""
    password_ms: Mapped[int | None]
    """When it was set."""
    password_once: Mapped[Small] = mapped_column(default=0)
    """1: somebody else knows it; it must be changed at the first sign-in, and ends by itself."""
    totp: Mapped[str | None]
    """Secret of the second factor, sealed by `people.vault`."""
    totp_asked: Mapped[str | None]
    """One that was shown and is not confirmed yet."""
    totp_step: Mapped[int | None]
    """Of the last code that was used: none is good twice."""
    sso_issuer: Mapped[str | None]
    sso_subject: Mapped[str | None]
    created_ms: Mapped[int]
    disabled_ms: Mapped[int | None]

    grants: Mapped[list["GrantRow"]] = relationship(order_by="GrantRow.role, GrantRow.street", viewonly=True)


class GrantRow(Base):
    """A role of a person at one street; `*` is all of them."""

    __tablename__ = "person_grant"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    role: Mapped[Key]
    street: Mapped[Key]
    by: Mapped[str]
    """Who gave it; `sso` for what a sign-in elsewhere brought, which the next one may take again."""
    at_ms: Mapped[int]


class RecoveryRow(Base):
    """A recovery code that has not been used; only its hash is kept."""

    __tablename__ = "recovery_code"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    code_sha256: Mapped[Key]


class SignInRow(Base):
    """A session of a person at the pages; only the hash of its cookie is kept."""

    __tablename__ = "sign_in"

    id_sha256: Mapped[Key]
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    stage: Mapped[str]
    """`code`: the password was right, the second factor is still asked for; `full`."""
    method: Mapped[str]
    """`password`, `totp`, `recovery` or `sso`."""
    created_ms: Mapped[int]
    seen_ms: Mapped[int]
    """To the minute."""
    expires_ms: Mapped[int] = mapped_column(index=True)
    failures: Mapped[Small] = mapped_column(default=0)
    """Wrong codes."""
    address: Mapped[str] = mapped_column(default="")
    browser: Mapped[str] = mapped_column(default="")


class TokenRow(Base):
    """What a program signs in with; only the hash of its secret is kept."""

    __tablename__ = "api_token"

    id: Mapped[Key]
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    """Whose it is: it never has more roles than they have at the time."""
    name: Mapped[str]
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    grants: Mapped[str]
    """JSON: [[role, street], …]."""
    created_ms: Mapped[int]
    expires_ms: Mapped[int]
    used_ms: Mapped[int | None]
    """To the minute."""
    revoked_ms: Mapped[int | None]


class FailureRow(Base):
    """How often somebody failed to sign in, by a hash of who or from where; forgotten after a day."""

    __tablename__ = "sign_in_failure"

    key: Mapped[Key]
    count: Mapped[Small]
    last_ms: Mapped[int] = mapped_column(index=True)


class SsoRow(Base):
    """A sign-in elsewhere that has begun: what its answer must fit."""

    __tablename__ = "sso_flow"

    id_sha256: Mapped[Key]
    """Of a cookie, so that the answer comes to the browser that asked."""
    state: Mapped[str]
    nonce: Mapped[str]
    verifier: Mapped[str]
    go_on: Mapped[str]
    """The page that was wanted."""
    expires_ms: Mapped[int]


class AuditRow(Base):
    """One line of the audit log; never changed and never deleted, each names the hash of the one before."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_actor", "actor", "number"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1, without gaps."""
    at_ms: Mapped[int]
    actor: Mapped[str]
    """`kind:id`."""
    action: Mapped[str]
    object: Mapped[str] = mapped_column(index=True)
    """`kind/id` of what was changed or looked at."""
    detail: Mapped[str]
    """JSON."""
    before: Mapped[str]
    """Hash of the line before, hexadecimal; zeros before the first."""
    hash: Mapped[str]
