"""Pages of one's own: signing in, the second factor, the account, signing out."""

import io
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import segno
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from collector.people import passwords, roster, sessions, tokens, totp
from collector.people.actor import Grant
from collector.people.lockout import TooManyError
from collector.people.passwords import BusyError, PasswordError
from collector.people.rights import OWN
from collector.people.roster import PeopleError
from collector.people.signing import Caller, SignedIn, WrongError
from collector.people.sso import SsoError
from collector.store import SignInRow, TokenRow
from collector.web import navigation, words
from collector.web.language import N_, Text
from collector.web.pages import Page, Showing
from collector.web.rights import Asking, Desk, Fields, From, Gate, needs, public

DEVICE_S: Final = 365 * 86_400
SSO_S: Final = 600
DAYS: Final = 90.0
Failed = (WrongError, PasswordError, PeopleError, TooManyError, BusyError)


def router(desk: Desk, gate: Gate) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    signing = gate.signing

    def let_in(request: Request, found: SignedIn, go_on: str) -> RedirectResponse:
        """Give the browser its new session; the one that it showed, if any, ends."""
        old = request.cookies.get(gate.cookie, "")
        if old:
            signing.end(old)
        caller = signing.caller(found.cookie) if go_on == "/" else None
        answer = RedirectResponse(go_on if caller is None else navigation.home(caller.actor), 303)
        _set(gate, answer, gate.cookie, found.cookie, found.kept_s)
        if found.device:
            _set(gate, answer, gate.device_cookie, found.device, DEVICE_S)
        return answer

    def form_page(
        page: Page, go_on: str, fault: Text = "", status: int = 200, wait_s: float = 0, typed: str = ""
    ) -> HTMLResponse:
        sso = "" if gate.provider is None else gate.provider.section.name
        found = page("sign_in.html", status, go_on=go_on, fault=fault, sso=sso, empty=gate.is_open(), typed=typed)
        if wait_s:
            found.headers["retry-after"] = str(round(wait_s) + 1)
        return found

    @routes.get("/sign-in", dependencies=[public()])
    def ask_password(page: Showing, go_on: str = "/", over: str = "") -> HTMLResponse:
        return form_page(page, _own_path(go_on), N_("Your session has ended. Sign in again.") if over else "")

    @routes.post("/sign-in", dependencies=[public()])
    def take_password(page: Showing, request: Request, fields: Fields, source: From) -> Response:
        go_on, name = _own_path(fields.get("go_on", "/")), fields.get("name", "")
        try:
            found = signing.password(name, fields.get("password", ""), source)
        except WrongError as fault:
            return form_page(page, go_on, str(fault), 401, typed=name)
        except TooManyError as fault:
            return form_page(page, go_on, str(fault), 429, fault.wait_s, name)
        except BusyError as fault:
            return form_page(page, go_on, str(fault), 503, 5, name)
        next_page = f"/sign-in/code?go_on={quote(go_on, safe='/')}" if found.stage == "code" else go_on
        return let_in(request, found, next_page)

    @routes.get("/sign-in/code", dependencies=[public()])
    def ask_code(page: Showing, go_on: str = "/") -> HTMLResponse:
        return page("code.html", go_on=_own_path(go_on), fault="")

    @routes.post("/sign-in/code", dependencies=[public()])
    def take_code(page: Showing, request: Request, fields: Fields, source: From) -> Response:
        go_on = _own_path(fields.get("go_on", "/"))
        try:
            found = signing.code(request.cookies.get(gate.cookie, ""), fields.get("code", ""), source)
        except WrongError as fault:
            return page("code.html", 401, go_on=go_on, fault=str(fault))
        except TooManyError as fault:
            return page("code.html", 429, go_on=go_on, fault=str(fault))
        return let_in(request, found, go_on)

    @routes.get("/sign-in/sso", dependencies=[public()])
    def go_elsewhere(page: Showing, go_on: str = "/") -> Response:
        if gate.provider is None:
            raise HTTPException(404, "没有设置统一认证 / there is no single sign-on here")
        try:
            url, cookie = gate.provider.begin(signing, _own_path(go_on))
        except SsoError as fault:
            return form_page(page, _own_path(go_on), _sso(fault), 502)
        answer = RedirectResponse(url, 303)
        _set(gate, answer, gate.sso_cookie, cookie, SSO_S)
        return answer

    @routes.get("/sign-in/sso/back", dependencies=[public()])
    def come_back(page: Showing, request: Request, source: From) -> Response:
        if gate.provider is None:
            raise HTTPException(404, "没有设置统一认证 / there is no single sign-on here")
        cookie = request.cookies.get(gate.sso_cookie, "")
        try:
            found, go_on = gate.provider.finish(signing, cookie, dict(request.query_params), source)
        except SsoError as fault:
            return form_page(page, "/", _sso(fault), 403)
        answer = let_in(request, found, go_on)
        answer.delete_cookie(gate.sso_cookie, secure=gate.secure, httponly=True, samesite="lax")
        return answer

    @routes.post("/sign-out", dependencies=[needs(OWN)])
    def sign_out(asking: Asking) -> Response:
        signing.sign_out(asking)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(gate.cookie, secure=gate.secure, httponly=True, samesite="lax")
        # pictures that the browser has kept
        answer.headers["clear-site-data"] = '"cache"'
        return answer

    def account_page(page: Page, asking: Caller, status: int = 200, **values: Any) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            row = roster.find(session, asking.actor.id)
            return page(
                "account.html",
                status,
                person=row,
                roles=[(str(one), words.office(one)) for one in sorted(asking.actor.grants, key=str)],
                sessions=[_session(one, asking) for one in sessions.of(session, row.id, now_ms)],
                tokens=[_token(one) for one in tokens.listed(session, row.id) if _good(one, now_ms)],
                shortest=passwords.SHORTEST,
                days=round(DAYS),
                **{"fault": "", "done": "", "made": "", **values},
            )

    @routes.get("/account", dependencies=[needs(OWN)])
    def show_account(page: Showing, asking: Asking, done: str = "") -> HTMLResponse:
        return account_page(page, asking, done=done)

    def confirmed(
        page: Page, asking: Caller, fields: dict[str, str], source: From, act: Callable[[], Response]
    ) -> Response:
        """Do something after the password was asked for once more."""
        try:
            signing.check_own(asking, fields.get("password", ""), source)
            return act()
        except Failed as fault:
            return account_page(page, asking, 400, fault=str(fault))

    @routes.post("/account/password", dependencies=[needs(OWN)])
    def change_password(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        try:
            signing.change_password(asking, fields.get("password", ""), fields.get("new", ""), source)
        except Failed as fault:
            return account_page(page, asking, 400, fault=str(fault))
        return _done("password")

    def totp_page(page: Page, asking: Caller, status: int = 200, fault: str = "") -> HTMLResponse:
        try:
            secret = signing.ask_totp(asking)
        except PeopleError as unusable:
            return account_page(page, asking, 503, fault=str(unusable))
        return page(
            "totp.html",
            status,
            fault=fault,
            secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
            picture=_qr(totp.link(secret, signing.issuer, asking.actor.id)),
        )

    @routes.post("/account/totp", dependencies=[needs(OWN)])
    def begin_totp(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        return confirmed(page, asking, fields, source, lambda: totp_page(page, asking))

    @routes.post("/account/totp/confirm", dependencies=[needs(OWN)])
    def confirm_totp(page: Showing, asking: Asking, fields: Fields) -> Response:
        try:
            codes = signing.confirm_totp(asking, fields.get("code", ""))
        except WrongError as fault:
            return totp_page(page, asking, 400, str(fault))
        return page("codes.html", codes=codes)

    @routes.post("/account/totp/drop", dependencies=[needs(OWN)])
    def drop_totp(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        def act() -> Response:
            signing.drop_totp(asking)
            return _done("totp_drop")

        return confirmed(page, asking, fields, source, act)

    @routes.post("/account/recovery", dependencies=[needs(OWN)])
    def new_recovery(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        def act() -> Response:
            return page("codes.html", codes=signing.new_recovery(asking))

        return confirmed(page, asking, fields, source, act)

    @routes.post("/account/sessions/end", dependencies=[needs(OWN)])
    def end_sessions(asking: Asking) -> Response:
        signing.end_others(asking)
        return _done("sessions")

    @routes.post("/account/tokens", dependencies=[needs(OWN)])
    def make_token(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        def act() -> Response:
            if asking.must:
                raise PeopleError("请先完成账号设置 / finish your account first")
            wanted = [Grant.read(name.partition(":")[2]) for name in fields if name.startswith("grant:")]
            if not wanted:
                raise PeopleError("请选择角色 / expected at least one role for it")
            with desk.store.writing() as session:
                made = tokens.make(
                    session,
                    asking.actor,
                    asking.actor.id,
                    fields.get("token", ""),
                    wanted,
                    _days(fields.get("days", "")),
                    desk.now_ms(),
                )
            return account_page(page, asking, made=made.text)

        return confirmed(page, asking, fields, source, act)

    @routes.post("/account/tokens/{token}/revoke", dependencies=[needs(OWN)])
    def revoke_token(asking: Asking, token: str) -> Response:
        with desk.store.writing() as session:
            row = session.get(TokenRow, token)
            if row is None or row.person_id != asking.actor.id:
                raise HTTPException(404, "没有这个令牌 / there is no such token of yours")
            tokens.revoke(session, asking.actor, token, desk.now_ms())
        return _done("token")

    return routes


def _done(what: str) -> RedirectResponse:
    return RedirectResponse(f"/account?done={what}", 303)


def _sso(fault: SsoError) -> str:
    """What is wrong between two servers is for whoever runs them; everybody hears that it is."""
    return str(fault) if " / " in str(fault) else f"统一认证未成功，请联系管理员 / {fault}"


def _days(text: str) -> float:
    try:
        return float(text or DAYS)
    except ValueError:
        raise PeopleError(f"天数应为数字 / expected a number of days, got {text!r:.40}") from None


def _set(gate: Gate, answer: Response, name: str, value: str, age_s: int | None = None) -> None:
    # Lax, not Strict: a link in a message to an officer leads to the ticket and not to a sign-in
    answer.set_cookie(name, value, max_age=age_s, path="/", secure=gate.secure, httponly=True, samesite="lax")


def _own_path(text: str) -> str:
    """A page of this center, whatever was asked for."""
    good = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable() and "\\" not in text
    return text if good and not text.startswith("/sign-") else "/"


def _qr(text: str) -> Markup:
    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind="svg", border=4, xmldecl=False, omitsize=True, light="white")
    return Markup(out.getvalue().decode())  # noqa: S704 - made here, of squares alone


def _good(row: TokenRow, now_ms: int) -> bool:
    return row.revoked_ms is None and row.expires_ms > now_ms


def _session(row: SignInRow, asking: Caller) -> dict[str, Any]:
    return {
        "address": row.address,
        "browser": row.browser,
        "since_ms": row.created_ms,
        "seen_ms": row.seen_ms,
        "own": row.id_sha256 == asking.session,
    }


def _token(row: TokenRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "grants": words.offices(tokens.grants_of(row)),
        "expires_ms": row.expires_ms,
        "used_ms": row.used_ms,
    }
