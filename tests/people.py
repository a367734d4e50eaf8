"""People of a center, for tests: made and signed in without waiting for a real hash."""

import time

from argon2 import PasswordHasher
from starlette.testclient import TestClient

from collector.people import roster, sessions, tokens
from collector.people.actor import SYSTEM, Grant
from collector.people.passwords import Passwords
from collector.people.signing import Signing
from collector.settings import CenterSection, CenterSettings
from collector.web.app import Health, make_app
from collector.web.live import Changes
from collector.web.rights import Gate

QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "correct horse battery"


def now_ms():
    return round(time.time() * 1000)


def make_person(store, person, *grants, password=None, once=False, at_ms=None):
    """Somebody with roles such as `operator@s`; with a password only where a test signs in by it."""
    with store.writing() as session:
        given = [Grant.read(text) for text in grants]
        kept = None if password is None else QUICK.hash(password)
        return roster.add(
            session, SYSTEM, person, person.title(), given, now_ms=at_ms or now_ms(), password=kept, once=once
        )


def sign_in(store, person, client, at_ms=None):
    """Give a client a session of this person, as their browser would have it."""
    with store.writing() as session:
        cookie = sessions.start(
            session, person, "full", "password", ages=sessions.Ages(), now_ms=at_ms or now_ms(), address="test"
        )
    client.cookies.clear()
    client.cookies.set("cityeye", cookie, domain="127.0.0.1")
    client.headers.update({"sec-fetch-site": "same-origin", "x-csrf-token": sessions.csrf(cookie)})
    return cookie


def bearer(store, person, *grants, days=1, at_ms=None):
    """Headers with a token of this person."""
    with store.writing() as session:
        given = [Grant.read(text) for text in grants] or roster.grants(session, person)
        made = tokens.make(session, SYSTEM, person, "test", given, days, at_ms or now_ms())
    return {"authorization": f"Bearer {made.text}"}


def make_gate(store, clock=now_ms, **options):
    """A gate with quick hashes; second factors as its options say."""
    names = {"ages", "second_factor", "issuer"}
    signing = Signing(store, clock, QUICK, **{name: options.pop(name) for name in names & set(options)})
    return Gate(signing, **options)


def make_pages(desk, gate=None, counter=None, settings=None, **options):
    """The whole application on a desk of `tests/collector/conftest.py`; feeds end at once."""
    gate = gate or make_gate(desk.store, second_factor="optional", **options)
    center = CenterSection(id="demo", name="小河街道")
    health = Health(lambda: True, lambda: True)
    more = {"gate": gate, "counter": counter, "settings": settings}
    return make_app(center, desk.store, desk.files, Changes(), health, lambda: True, **more)


def center_settings(**sections):
    """Settings of a center with these sections."""
    center, broker = {"id": "demo", "name": "小河街道"}, {"url": "mqtt://127.0.0.1"}
    return CenterSettings(version=1, center=center, broker=broker, **sections)


def at_the_center(desk, health=None, **center):
    """A client of the pages for whoever sits at the center itself: without a gate."""
    section = CenterSection(id="demo", **{"name": "小河街道", **center})
    app = make_app(section, desk.store, desk.files, Changes(), health or Health(lambda: True, lambda: True))
    return TestClient(app, base_url="http://127.0.0.1")


def browser(app, host="127.0.0.1", address="127.0.0.1"):
    """A client that follows no redirects by itself."""
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False, client=(address, 50_000))
