"""`cityeye-collector notices …`: reading templates, trying channels, and what became of what was sent."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo

import typer

from collector.commandline import EXIT_FAILED, JsonOption, SettingsOption, now_ms, one_line, open_center, who
from collector.notices import desk
from collector.notices.channels.aliyun import AliyunSms
from collector.notices.channels.callback import Loudspeaker
from collector.notices.channels.tencent import TencentSms
from collector.notices.messages import ChannelBase
from collector.notices.routing import suiting
from collector.notices.secrets import SecretError
from collector.notices.service import tools_of
from collector.notices.settings import Audience, NoticesSection
from collector.notices.texts import KINDS, TemplateError, audience_of
from collector.people.actor import Actor
from collector.settings import CenterConfig, load_settings
from collector.store import NoticeRow, Store
from protocol.documents import SettingsError

app = typer.Typer(no_args_is_help=True, help="Notices: templates, channels, and what became of them.")
KindArgument = Annotated[str, typer.Argument(help=", ".join(KINDS))]
AudienceOption = Annotated[
    str | None, typer.Option(help="shop, community, officer, operator or room; unset: whom the kind goes to")
]
LanguageOption = Annotated[str, typer.Option(help="zh or en")]


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    with one_line():
        try:
            yield
        except (TemplateError, desk.DecisionError, SecretError) as fault:
            raise SettingsError(str(fault)) from None


@contextlib.contextmanager
def _opened(settings: Path) -> Iterator[tuple[CenterConfig, Store]]:
    with _faults(), open_center(settings) as opened:
        yield opened


def _audience(notices: NoticesSection, kind: str, audience: str | None) -> str:
    if audience is not None and audience not in get_args(Audience):
        raise TemplateError(f"audience: expected one of {', '.join(get_args(Audience))}, got {audience!r}")
    return audience_of(notices.texts(), kind, audience)


def _read_to(channel: ChannelBase, to: str) -> str:
    """An address of the kind that a channel wants, as it takes it."""
    needs = channel.address_kind()
    if needs == "none":
        return ""
    known = set(channel.devices.values()) if isinstance(channel, Loudspeaker) else set()
    found = (to if to in known else "") if needs == "device" else suiting(channel, to)
    if not found:
        wanted = {"phone": "a telephone number", "email": "a mail address"}.get(needs) or f"one of {sorted(known)}"
        raise TemplateError(f"--to: expected {wanted} for channel {channel.id}, got {to!r:.80}")
    return found


def _sign(channel: ChannelBase) -> str:
    return channel.sign if isinstance(channel, AliyunSms | TencentSms) else ""


@app.command()
def preview(
    kind: KindArgument,
    settings: SettingsOption,
    *,
    audience: AudienceOption = None,
    language: LanguageOption = "zh",
    street: Annotated[str, typer.Option(help="whose route is shown")] = "*",
    shop: Annotated[str, typer.Option(help="its name")] = "",
    minutes: Annotated[int, typer.Option(help="that there are")] = 5,
    text: Annotated[str, typer.Option(help="what an alert says beyond its template")] = "",
) -> None:
    """Show how a notice reads, how long it is as an SMS, and over what it goes; nothing is sent."""
    with _faults():
        config = load_settings(settings)
        notices, pages, center = config.settings.notices, config.settings.shop_pages, config.settings.center
        audience = _audience(notices, kind, audience)
        facts = desk.sample(
            kind, language, notices, center.name, ZoneInfo(center.timezone), now_ms(),
            shop=shop, minutes=minutes, text=text,
        )  # fmt: skip
        route, by_id = notices.chain(audience, kind, street), {one.id: one for one in notices.channel}
        signs = [_sign(by_id[name]) for name in (() if route is None else route.channels)]
        shown = desk.preview(facts, audience, notices, pages, next(filter(None, signs), ""))
        typer.echo(shown.subject)
        typer.echo(shown.body)
        typer.echo(f"-- {shown.characters} 字 characters, {shown.parts} 条 SMS")
        if route is None:
            typer.echo(f"-- 没有通道 no route for {audience}, {kind}, street {street}")
            return
        for name in route.channels:
            message = desk.sample_message(by_id[name], facts, audience, "13800000000", "preview", notices, pages)
            sent = by_id[name].shown(message)
            typer.echo(f"-- {name}: {sent if by_id[name].own_texts else 'as above'}")


@app.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(help="id of a channel")],
    settings: SettingsOption,
    *,
    to: Annotated[str, typer.Option(help="telephone number, mail address or loudspeaker, where it wants one")] = "",
    kind: Annotated[str, typer.Option(help="which text")] = "shop_notice",
    audience: AudienceOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Send one sample over a channel, now, and say what became of it; exits with 1 if it was not taken."""
    with _faults():
        config = load_settings(settings)
        notices, pages, center = config.settings.notices, config.settings.shop_pages, config.settings.center
        found = next((one for one in notices.channel if one.id == channel), None)
        if found is None:
            known = ", ".join(one.id for one in notices.channel) or "none yet"
            raise TemplateError(f"channel: expected one of the settings ({known}), got {channel!r}")
        to = _read_to(found, to)
        audience = _audience(notices, kind, audience)
        facts = desk.sample(kind, language, notices, center.name, ZoneInfo(center.timezone), now_ms())
        message = desk.sample_message(found, facts, audience, to, os.urandom(16).hex(), notices, pages)
        tools = tools_of(notices, config.folder)
        report = found.send(message, tools)
        line = tools.secrets.clean(f"{report.outcome} {report.code} {report.text}".strip())
    typer.echo(line)
    if report.outcome not in ("accepted", "delivered"):
        raise typer.Exit(EXIT_FAILED)


@app.command("list")
def list_notices(
    settings: SettingsOption,
    *,
    ticket: Annotated[int | None, typer.Option(help="of this ticket")] = None,
    state: Annotated[str | None, typer.Option(help="such as unsure or failed")] = None,
    limit: Annotated[int, typer.Option(help="at most")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List notices, the newest first."""
    with _opened(settings) as (_, store), store.transaction() as session:
        rows = desk.listed(session, ticket=ticket, state=state, limit=limit)
        found = [desk.as_json(session, row, whole=as_json) for row in rows]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for one in found:
        of = "" if one["ticket"] is None else f" ticket {one['ticket']}"
        why = f": {one['code']} {one['reason']}" if one["reason"] else ""
        to = f"{one['audience']} {one['to']}".strip()
        typer.echo(f"{one['number']} {one['created_at']} {one['kind']} to {to}{of} {one['state']}{why}")


@app.command()
def channels(settings: SettingsOption, *, as_json: JsonOption = False) -> None:
    """List the channels, whether their secrets are there, and what became of their last tries."""
    good = True
    with _opened(settings) as (config, store):
        with store.transaction() as session:
            found = desk.channels(session, config.settings.notices)
        secrets = tools_of(config.settings.notices, config.folder).secrets
        for channel, one in zip(config.settings.notices.channel, found, strict=True):
            one["secrets"] = _secrets(channel, secrets)
            good = good and one["secrets"] == "ok"
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        for one in found:
            last = (
                f"last {one['last_outcome']} {one['last_code']} at {one['last_at']}"
                if one["last_at"]
                else "not used yet"
            )
            typer.echo(f"{one['id']} {one['type']} needs {one['needs']}; secrets {one['secrets']}; {last}")
    if not good:
        raise typer.Exit(EXIT_FAILED)


def _secrets(channel: ChannelBase, secrets: Any) -> str:
    for name in channel.secret_names():
        try:
            secrets.get(name)
        except SecretError as fault:
            return str(fault)
    return "ok"


@app.command()
def decide(
    number: Annotated[int, typer.Argument(help="of a notice that is unsure, failed or expired")],
    decision: Annotated[str, typer.Argument(help="told, again or failed")],
    settings: SettingsOption,
    *,
    reason: Annotated[str, typer.Option(help="why; it goes into the audit log")],
) -> None:
    """Say what became of a notice of which nobody knows."""
    with _opened(settings) as (_, store), store.writing() as session:
        actor = Actor("system", name=who())
        row: NoticeRow = desk.decide(session, actor, number, decision, reason, now_ms())
    typer.echo(f"notice {row.number}: {row.state}")
