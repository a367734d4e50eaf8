"""Signing in at another server: OpenID Connect, authorization code with PKCE, state and nonce.

The ID token is checked as OpenID Connect Core 1.0, section 3.1.3.7 says; PyJWT looks at the signature, everything else
stands here, by the center's own clock.
"""

import base64
import hashlib
import json
import logging
import secrets
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jwt
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from collector.people import roster, sessions
from collector.people.actor import Actor, Grant
from collector.people.roster import PeopleError
from collector.people.signing import SignedIn, Signing, Source
from collector.settings import SsoSection
from collector.store import PersonRow, SsoRow, lock

log = logging.getLogger(__name__)

FLOW_MS: Final = 10 * 60_000
MAX_FLOWS: Final = 10_000
TIMEOUT_S: Final = 10.0
MAX_BYTES: Final = 1_000_000
FRESH_MS: Final = 3_600_000
"""What the server says of itself, and its keys, are asked for again after an hour."""
KEYS_EVERY_MS: Final = 60_000
"""A key that is not known is looked for once a minute at most."""
LEEWAY_S: Final = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With a public key only: by no means `none` or an HMAC."""
ACTOR: Final = Actor("system", "sso")


class SsoError(Exception):
    """It did not work; one line for the person who tries."""


@dataclass(frozen=True)
class Request:
    """What is sent to the other server."""

    url: str
    form: Mapping[str, str] | None = None
    authorization: str = ""


Fetch = Callable[[Request], Any]


class Fetcher:
    """Gets JSON over HTTPS; follows nobody elsewhere.

    Args:
        ca: PEM of a CA of one's own; None: those of the system.
    """

    def __init__(self, ca: Path | None = None) -> None:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        self._opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=context))

    def __call__(self, request: Request) -> Any:
        """Fetch; raises OSError, ValueError."""
        data = None if request.form is None else urlencode(request.form).encode()
        headers = {"accept": "application/json", "user-agent": "CityEye"}
        if request.authorization:
            headers["authorization"] = request.authorization
        asked = urllib.request.Request(request.url, data=data, headers=headers)  # noqa: S310 - the settings' own server
        with self._opener.open(asked, timeout=TIMEOUT_S) as answer:
            body = answer.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES} bytes")
        return json.loads(body)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Not followed: the answer is an error."""


@dataclass
class _Known:
    at_ms: int
    value: dict[str, Any]


class Provider:
    """The other server.

    Args:
        section: its settings.
        secret: of this center there; empty: PKCE alone.
        back: URL of this center that it sends people back to.
        fetch: gets JSON.
        now_ms: the center's clock.
    """

    def __init__(self, section: SsoSection, secret: str, back: str, fetch: Fetch, now_ms: Callable[[], int]) -> None:
        self.section = section
        self._secret = secret
        self._back = back
        self._fetch = fetch
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._about: _Known | None = None
        self._keys: _Known | None = None

    def begin(self, signing: Signing, go_on: str) -> tuple[str, str]:
        """Where the browser is sent, and the cookie by which it is known again; raises SsoError."""
        endpoint = str(self._says("authorization_endpoint"))
        cookie, state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        now_ms = self._now_ms()
        with signing.store.writing() as session:
            session.execute(delete(SsoRow).where(SsoRow.expires_ms <= _sweep(session, now_ms)))
            session.add(
                SsoRow(
                    id_sha256=sessions.kept(cookie),
                    state=state,
                    nonce=nonce,
                    verifier=verifier,
                    go_on=go_on,
                    expires_ms=now_ms + FLOW_MS,
                )
            )
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.section.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(dict.fromkeys(("openid", *self.section.scopes))),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"acr_values": self.section.acr} if self.section.acr else {}),
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", cookie

    def finish(self, signing: Signing, cookie: str, answer: Mapping[str, str], source: Source) -> tuple[SignedIn, str]:
        """Let in who comes back; returns with the page that was wanted. Raises SsoError; a flow is good once."""
        flow = self._flow(signing, cookie, answer)
        claims = self._claims(answer.get("code", ""), flow)
        with signing.store.writing() as session:
            row = self._person(session, claims)
            return signing.elsewhere(session, row, source), flow.go_on

    def _flow(self, signing: Signing, cookie: str, answer: Mapping[str, str]) -> SsoRow:
        with signing.store.writing() as session:
            row = session.get(SsoRow, sessions.kept(cookie)) if cookie else None
            if row is not None:
                session.delete(row)
        if row is None or row.expires_ms <= self._now_ms():
            raise SsoError("登录已过期，请重试 / this sign-in has ended or began in another browser; begin again")
        if not secrets.compare_digest(row.state.encode(), answer.get("state", "").encode()):
            raise SsoError("登录无效，请重试 / the answer does not belong to this sign-in; begin again")
        # RFC 9207: who answers is who was asked
        if answer.get("iss", self.section.issuer) != self.section.issuer:
            raise SsoError(f"expected an answer of {self.section.issuer}, got one of another server")
        if "error" in answer:
            raise SsoError(f"统一认证拒绝 / the other server refused: {_line(answer['error'])}")
        return row

    def _claims(self, code: str, flow: SsoRow) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": flow.verifier,
        }
        authorization = ""
        ways = self._about_it().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret and "client_secret_basic" in ways:
            pair = f"{quote(self.section.client_id, safe='')}:{quote(self._secret, safe='')}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.section.client_id
            if self._secret:
                form["client_secret"] = self._secret
        found = self._get(Request(str(self._says("token_endpoint")), form, authorization))
        token = found.get("id_token")
        if not isinstance(token, str):
            raise SsoError("expected an id_token of the other server, got none")
        return self._checked(token, flow.nonce)

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """Claims of an ID token; raises SsoError for one that is not good."""
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in ALGORITHMS:
                raise SsoError(f"expected an ID token signed with a public key, got alg {_line(head.get('alg'))}")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(head),
                algorithms=[head["alg"]],
                issuer=self.section.issuer,
                audience=self.section.client_id,
                # times are compared below, by this center's clock
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.PyJWTError as fault:
            raise SsoError(f"expected a good ID token, got: {_line(fault)}") from None
        now_s = self._now_ms() / 1000
        audience = claims["aud"]
        party = claims.get("azp")
        faults = (
            (not _is_number(claims["exp"]) or now_s >= claims["exp"] + LEEWAY_S, "it has expired"),
            (not _is_number(claims["iat"]) or claims["iat"] > now_s + LEEWAY_S, "it is from the future"),
            (claims.get("nonce") != nonce, "its nonce is of another sign-in"),
            (party is not None and party != self.section.client_id, "it was made for another client"),
            (isinstance(audience, list) and len(audience) > 1 and party is None, "it is for several clients"),
            (bool(self.section.acr) and claims.get("acr") != self.section.acr, f"expected acr {self.section.acr}"),
            (not isinstance(claims["sub"], str) or not claims["sub"], "it names nobody"),
        )
        for wrong, text in faults:
            if wrong:
                raise SsoError(f"expected a good ID token, got one that is none: {text}")
        return claims

    def _key(self, head: Mapping[str, Any]) -> Any:
        """The server's key that a token names; a new one is looked for."""
        for again in (False, True):
            for one in self._key_set(again=again):
                named = head.get("kid") is None or one.get("kid") == head["kid"]
                if named and one.get("kty") in ("RSA", "EC", "OKP") and one.get("use", "sig") == "sig":
                    try:
                        return jwt.PyJWK(one, head["alg"]).key
                    except jwt.PyJWTError:
                        continue
        raise SsoError("expected an ID token signed with a key of the other server, its key is not among them")

    def _key_set(self, *, again: bool) -> list[dict[str, Any]]:
        now_ms = self._now_ms()
        with self._lock:
            known = self._keys
        if known is None or now_ms - known.at_ms > (KEYS_EVERY_MS if again else FRESH_MS):
            known = _Known(now_ms, self._get(Request(str(self._says("jwks_uri")))))
            with self._lock:
                self._keys = known
        keys = known.value.get("keys")
        return [one for one in keys if isinstance(one, dict)] if isinstance(keys, list) else []

    def _says(self, name: str) -> object:
        value = self._about_it().get(name)
        if not isinstance(value, str) or not value.startswith(("https://", self.section.issuer)):
            raise SsoError(f"{self.section.issuer}: expected {name} with https:// in what it says of itself")
        return value

    def _about_it(self) -> dict[str, Any]:
        now_ms = self._now_ms()
        with self._lock:
            known = self._about
        if known is None or now_ms - known.at_ms > FRESH_MS:
            where = f"{self.section.issuer.rstrip('/')}/.well-known/openid-configuration"
            known = _Known(now_ms, self._get(Request(where)))
            if known.value.get("issuer") != self.section.issuer:
                raise SsoError(
                    f"expected issuer {self.section.issuer}, the server calls itself {_line(known.value.get('issuer'))}"
                )
            with self._lock:
                self._about = known
        return known.value

    def _get(self, request: Request) -> dict[str, Any]:
        try:
            found = self._fetch(request)
        except urllib.error.HTTPError as fault:
            log.warning("sso: %s: %s %s", request.url, fault.code, fault.read(300).decode("utf-8", "replace"))
            raise SsoError(f"统一认证出错 / the other server answered {fault.code}; its words are in the log") from None
        except (OSError, ValueError) as fault:
            log.warning("sso: %s: %s", request.url, fault)
            raise SsoError("统一认证无法访问 / the other server does not answer; details are in the log") from None
        if not isinstance(found, dict):
            raise SsoError("expected an object in JSON of the other server, got something else")
        return found

    def _person(self, session: Session, claims: Mapping[str, Any]) -> PersonRow:
        lock(session, ["people"])
        section, now_ms = self.section, self._now_ms()
        query = select(PersonRow).where(PersonRow.sso_issuer == section.issuer, PersonRow.sso_subject == claims["sub"])
        row = session.scalars(query).first()
        granted = self._granted(claims)
        if row is None:
            row = self._new(session, claims, granted, now_ms)
        if row.disabled_ms is not None:
            raise SsoError("此账号已停用 / this account is disabled here")
        if section.roles_claim:
            roster.set_sso_grants(session, ACTOR, row.id, granted, now_ms)
        return row

    def _new(self, session: Session, claims: Mapping[str, Any], granted: frozenset[Grant], now_ms: int) -> PersonRow:
        section = self.section
        said = claims.get(section.person_claim)
        person = said.lower() if isinstance(said, str) else ""
        if session.get(PersonRow, person) is not None:
            # whoever chooses their own name over there must not become somebody here by it
            raise SsoError(
                f"{person}: 此登录名已存在且未绑定 / somebody has this name here and is not linked; "
                f"an admin runs: people link {person} {_line(claims['sub'])}"
            )
        if not section.create or not granted:
            raise SsoError(
                "本中心没有此人或其角色 / this center knows no such person, or no role for them; ask an admin"
            )
        name = str(claims.get(section.name_claim) or person)
        try:
            return roster.add(session, ACTOR, person, name, (), now_ms=now_ms, sso=(section.issuer, str(claims["sub"])))
        except PeopleError as fault:
            raise SsoError(str(fault)) from None

    def _granted(self, claims: Mapping[str, Any]) -> frozenset[Grant]:
        found: Any = claims
        for step in filter(None, self.section.roles_claim.split(".")):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not self.section.roles_claim:
            return frozenset()
        values = found if isinstance(found, list) else [found]
        return frozenset(
            Grant.read(text) for value in values if isinstance(value, str) for text in self.section.roles.get(value, ())
        )


def _sweep(session: Session, now_ms: int) -> int:
    """Until when flows are swept: those that have ended, and the oldest where somebody begins them by the thousand."""
    newest = select(SsoRow.expires_ms).order_by(SsoRow.expires_ms.desc())
    return max(now_ms, session.scalar(newest.offset(MAX_FLOWS - 1).limit(1)) or 0)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(value: object) -> str:
    """What another says, as one short line."""
    return "".join(one if one.isprintable() else " " for one in str(value))[:200]
