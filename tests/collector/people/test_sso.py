"""Signing in elsewhere, against a small server that speaks OpenID Connect."""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from collector.people import audit, roster, sso
from collector.people.actor import SYSTEM, Grant
from collector.people.signing import Source
from collector.people.sso import Fetcher, Provider, SsoError
from collector.settings import SsoSection
from collector.store import PersonRow, SsoRow
from tests.collector.conftest import Desk
from tests.people import QUICK, Signing, browser, make_gate, make_pages, make_person

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
BACK = "http://127.0.0.1:8080/sign-in/sso/back"
ABOUT = "/realm/.well-known/openid-configuration"
HERE = Source("192.0.2.1", "Firefox")


def jwk(key, kid):
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


def signed(key, algorithm, kid, **changes):
    return lambda claims: {"id_token": jwt.encode({**claims, **changes}, key, algorithm, {"kid": kid})}


class Server:
    """The other server: what it says can be bent by a test."""

    def __init__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                good = {ABOUT: (200, server.about()), "/realm/keys": (200, {"keys": server.keys})}
                self._say(*(good | server.bent).get(self.path, (404, {})))

            def do_POST(self):
                server.asked.append(self.path)
                body = self.rfile.read(int(self.headers["content-length"]))
                form = dict(parse_qsl(body.decode()))
                server.forms.append((form, self.headers.get("authorization", "")))
                self._say(*server.bent.get(self.path) or server.exchange(form))

            def _say(self, status, value):
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._http.server_address[1]}/realm"
        self.keys = [jwk(RSA, "r"), jwk(EC, "e")]
        self.asked, self.forms, self.bent, self.codes = [], [], {}, {}
        self.methods = ["client_secret_basic"]
        self.answer_with = signed(RSA, "RS256", "r")
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def about(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "token_endpoint_auth_methods_supported": self.methods,
        }

    def sign_in(self, url, **claims):
        """What a browser brings back after somebody signed in here; keeps what the code is good for."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["redirect_uri"]) == ("code", BACK)
        assert "openid" in asked["scope"].split()
        now_s = round(time.time())
        code = f"code-{len(self.codes)}"
        about = {"iss": self.issuer, "aud": "cityeye", "iat": now_s, "exp": now_s + 300, "nonce": asked["nonce"]}
        who = {"sub": "subject-1", "preferred_username": "wang", "name": "王磊"}
        self.codes[code] = asked, {**about, **who, **claims}
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def exchange(self, form):
        asked, claims = self.codes.pop(form.get("code", ""), ({}, {}))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        good = (
            asked.get("code_challenge") == challenge.decode()
            and asked["code_challenge_method"] == "S256"
            and form["redirect_uri"] == asked["redirect_uri"]
        )
        return (200, {"access_token": "x", **self.answer_with(claims)}) if good else (400, {"error": "invalid_grant"})

    def close(self):
        self._http.shutdown()
        self._http.server_close()


class Center:
    def __init__(self, folder, server, **settings):
        self.desk = Desk(folder)
        self.store = self.desk.store
        self.now_ms = round(time.time() * 1000)
        self.server = server
        section = {"issuer": server.issuer, "client_id": "cityeye", "client_secret_file": "secret", **settings}
        self.signing = Signing(self.store, lambda: self.now_ms, QUICK)
        self.provider = Provider(SsoSection(**section), "a:b/c", BACK, Fetcher(), lambda: self.now_ms)

    def link(self, person="wang", subject="subject-1"):
        self.desk.write(roster.link_sso, SYSTEM, person, self.server.issuer, subject, self.now_ms)

    def come(self, answer_with=None, **claims):
        url, cookie = self.provider.begin(self.signing, "/tickets/1")
        answer = self.server.sign_in(url, **claims)
        if answer_with is not None:
            answer = answer_with(answer)
        found, go_on = self.provider.finish(self.signing, cookie, answer, HERE)
        assert go_on == "/tickets/1"
        return self.signing.caller(found.cookie).actor

    def begin(self):
        return self.provider.begin(self.signing, "/")

    def finish(self, cookie, answer):
        return self.provider.finish(self.signing, cookie, answer, HERE)

    def fails(self, match, answer_with=None, **claims):
        with pytest.raises(SsoError, match=match):
            self.come(answer_with, **claims)

    def grants(self, person="wang"):
        return {str(one) for one in self.desk.read(roster.grants, person)}


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def center(request, tmp_path, server):
    center = Center(tmp_path, server, **getattr(request, "param", {}))
    yield center
    center.store.close()


@pytest.fixture
def known(center):
    make_person(center.store, "wang", "operator@s")
    center.link()
    return center


def test_who_is_linked_is_let_in_with_their_own_roles(known):
    who = known.come()
    assert (who.id, who.grants) == ("wang", {Grant.read("operator@s")})
    ((form, authorization),) = known.server.forms
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"cityeye:a%3Ab%2Fc"
    assert "client_secret" not in form
    assert known.desk.read(audit.show, limit=1)[0].action == "sign_in"
    assert known.desk.count(SsoRow) == 0


def test_a_server_that_wants_the_secret_in_the_form_gets_it(known):
    known.server.methods = ["client_secret_post"]
    known.come()
    ((form, authorization),) = known.server.forms
    assert (form["client_id"], form["client_secret"], authorization) == ("cityeye", "a:b/c", "")


def test_what_the_server_says_is_kept_for_an_hour(known):
    known.come()
    known.come()
    assert known.server.asked.count("/realm/keys") == 1
    known.now_ms += sso.FRESH_MS + 1
    known.server.answer_with = signed(EC, "ES256", "e", iat=known.now_ms / 1000, exp=known.now_ms / 1000 + 9)
    known.come()
    assert known.server.asked.count("/realm/keys") == 2


def test_a_new_key_is_looked_for_but_not_at_every_try(known):
    known.come()
    known.server.answer_with = signed(OTHER, "RS256", "n")
    for _ in range(3):
        known.fails("its key is not among them")
    known.server.keys.append(jwk(OTHER, "n"))
    known.now_ms += sso.KEYS_EVERY_MS + 1
    known.come()
    assert known.server.asked.count("/realm/keys") == 2


def changed(**claims):
    return signed(RSA, "RS256", "r", **claims)


def without(name):
    return lambda claims: signed(RSA, "RS256", "r")({key: claims[key] for key in claims.keys() - {name}})


def from_now(claim, seconds):
    def answer(claims):  # at the test's time: the whole run may take an hour
        return changed(**{claim: time.time() + seconds})(claims)

    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (changed(iss="https://other.example"), "Invalid issuer"),
        (changed(aud="other"), "Audience"),
        (changed(aud=["cityeye", "other"]), "it is for several clients"),
        (changed(azp="other"), "it was made for another client"),
        (from_now("exp", -120), "it has expired"),
        (changed(exp=True), "it has expired"),
        (from_now("iat", 900), "it is from the future"),
        (changed(nonce="other"), "its nonce is of another sign-in"),
        (changed(sub=""), "it names nobody"),
        (signed(OTHER, "RS256", "r"), "Signature"),
        (signed(EC, "ES256", "r"), "its key is not among them"),
        # the well-known tricks: no signature, and the public key taken for the secret of an HMAC
        (signed(None, "none", "r"), "signed with a public key, got alg none"),
        (signed(b"a public key, taken for a secret", "HS256", "r"), "signed with a public key, got alg HS256"),
        (without("nonce"), "its nonce is of another sign-in"),
        (without("exp"), "exp"),
        (without("aud"), "aud"),
        (lambda _: {"id_token": "x.y.z"}, "expected a good ID token"),
        (lambda _: {"id_token": 7}, "expected an id_token"),
        (lambda _: {}, "expected an id_token"),
    ],
)
def test_an_id_token_that_is_not_good_lets_nobody_in(known, answer, expected):
    known.server.answer_with = answer
    known.fails(expected)


@pytest.mark.parametrize(
    "answer",
    [
        signed(EC, "ES256", "e"),
        signed(RSA, "PS256", "r"),
        changed(aud=["cityeye"]),
        changed(aud=["cityeye", "other"], azp="cityeye"),
        lambda claims: changed(exp=claims["iat"] - 30)(claims),
    ],
)
def test_other_good_ones_are_taken(known, answer):
    known.server.answer_with = answer
    assert known.come().id == "wang"


@pytest.mark.parametrize(
    ("bend", "expected"),
    [
        (lambda answer: {**answer, "state": "other"}, "does not belong to this sign-in"),
        (lambda answer: {"code": answer["code"]}, "does not belong to this sign-in"),
        (lambda answer: {**answer, "iss": "https://other.example"}, "got one of another server"),
        (lambda answer: {"state": answer["state"], "error": "access_denied\n"}, "refused: access_denied"),
        (lambda answer: {**answer, "code": "made up"}, "answered 400"),
        (lambda answer: {"state": answer["state"]}, "answered 400"),
    ],
)
def test_an_answer_that_does_not_fit_lets_nobody_in(known, bend, expected):
    known.fails(expected, bend)


def test_an_answer_is_good_once_in_time_in_its_browser(known):
    url, cookie = known.begin()
    answer = known.server.sign_in(url)
    for other in ("", "x"):
        with pytest.raises(SsoError, match="began in another browser"):
            known.finish(other, answer)
    known.finish(cookie, answer)
    with pytest.raises(SsoError, match="begin again"):
        known.finish(cookie, answer)
    url, cookie = known.begin()
    known.now_ms += sso.FLOW_MS
    with pytest.raises(SsoError, match="has ended"):
        known.finish(cookie, known.server.sign_in(url))


def test_who_begins_many_fills_nothing(known, monkeypatch):
    monkeypatch.setattr(sso, "MAX_FLOWS", 3)
    begun = []
    for _ in range(6):
        known.now_ms += 1000
        begun.append(known.begin())
    assert known.desk.count(SsoRow) == 3
    url, cookie = begun[-1]
    known.finish(cookie, known.server.sign_in(url))


def test_a_code_of_another_sign_in_is_worth_nothing(known):
    """PKCE: who steals a code lacks the verifier."""
    stolen = known.server.sign_in(known.begin()[0])
    known.fails("answered 400", lambda answer: {**answer, "code": stolen["code"]})


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        (ABOUT, (500, {}), "answered 500"),
        (ABOUT, (200, b"<html>"), "does not answer"),
        (ABOUT, (200, []), "expected an object"),
        (ABOUT, (200, {"issuer": "https://evil.example"}), "calls itself"),
        (ABOUT, (302, {}), "answered 302"),
        ("/realm/keys", (200, {"keys": "none"}), "its key is not among them"),
        ("/realm/keys", (200, {"keys": [7, {"kty": "oct", "k": "x", "kid": "r"}]}), "its key is not among them"),
        ("/realm/token", (200, b" " * 1_100_000), "does not answer"),
        ("/realm/token", (301, {}), "answered 301"),
    ],
)
def test_a_server_that_fails_is_said_in_one_line(known, path, answer, expected):
    known.server.bent[path] = answer
    with pytest.raises(SsoError, match=expected) as found:
        known.come()
    assert "\n" not in str(found.value)


def test_endpoints_elsewhere_without_tls_are_not_used(known):
    known.server.bent[ABOUT] = (200, {**known.server.about(), "token_endpoint": "http://evil.example/token"})
    known.fails("expected token_endpoint with https")


def test_a_server_that_is_gone(known):
    known.server.close()
    known.fails("does not answer")


def test_who_is_not_known_is_not_let_in(center):
    center.fails("knows no such person")


def test_nobody_becomes_somebody_by_choosing_their_name(center):
    make_person(center.store, "wang", "admin")
    center.fails("people link wang subject-9", sub="subject-9")
    center.link()
    center.fails("somebody has this name", sub="subject-9")


def test_who_is_disabled_here_stays_out(known):
    make_person(known.store, "chief", "admin")
    known.desk.write(roster.disable, SYSTEM, "wang", known.now_ms)
    known.fails("disabled here")


ROLES = {
    "roles_claim": "realm_access.roles",
    "roles": {"street-ops": ("operator@s", "viewer"), "street-admin": ("admin@s",)},
    "create": True,
}


@pytest.mark.parametrize("center", [ROLES], indirect=True)
def test_roles_that_come_from_there_follow_what_it_says(center):
    who = center.come(realm_access={"roles": ["street-ops", "unknown", 7]})
    assert {str(one) for one in who.grants} == {"operator@s", "viewer@*"}
    center.desk.write(roster.give, SYSTEM, "wang", Grant.read("officer@t"), center.now_ms)
    center.come(realm_access={"roles": "street-admin"})
    assert center.grants() == {"admin@s", "officer@t"}, "what was given by hand stays"
    center.come()
    assert center.grants() == {"officer@t"}
    assert center.signing.store is center.store
    assert center.desk.get(PersonRow, "wang").name == "王磊"
    assert center.desk.read(audit.verify).fault is None


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"realm_access": {"roles": ["unknown"]}},
        {"realm_access": "street-ops"},
        {"realm_access": {"roles": ["street-ops"]}, "preferred_username": "王磊"},
        {"realm_access": {"roles": ["street-ops"]}, "preferred_username": None},
    ],
)
@pytest.mark.parametrize("center", [ROLES], indirect=True)
def test_only_who_has_a_role_and_a_fit_name_is_taken_up(center, claims):
    center.fails(None, **claims)
    assert center.desk.count(PersonRow) == 0


@pytest.mark.parametrize("center", [{"acr": "mfa"}], indirect=True)
def test_a_way_of_signing_in_can_be_demanded(known):
    known.fails("expected acr mfa")
    assert known.come(acr="mfa").id == "wang"


def test_the_pages_lead_there_and_back(known):
    gate = make_gate(known.store, second_factor="admins", provider=known.provider)
    client = browser(make_pages(known.desk, gate))
    client.base_url = "http://127.0.0.1:8080"
    assert "统一认证 Single sign-on" in client.get("/sign-in?go_on=/tickets/7").text
    away = client.get("/sign-in/sso?go_on=/tickets/7")
    assert away.status_code == 303
    answer = known.server.sign_in(away.headers["location"])
    back = client.get("/sign-in/sso/back", params=answer)
    assert (back.status_code, back.headers["location"]) == (303, "/tickets/7")
    assert client.get("/account").status_code == 200
    again = client.get("/sign-in/sso/back", params=answer, headers={"accept-language": "en"})
    assert again.status_code == 403
    assert "begin again" in again.text


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://sso.example"},
        {"issuer": "https://u:p@sso.example"},
        {"issuer": "sso.example"},
        {"issuer": "https://sso.example?x"},
        {"client_id": ""},
        {"roles": {"a": ["boss"]}},
        {"role": {}},
    ],
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=r"expected|unknown key|at least 1"):
        SsoSection.model_validate({"issuer": "https://sso.example", "client_id": "x", **changes})
