"""The command line of people, and a collector that others reach: real processes."""

import json
import re
import sqlite3
import ssl
import stat
import time
from contextlib import closing
from types import SimpleNamespace

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from collector.boxes.authority import Authority, private_pem
from collector.people import audit, first
from collector.settings import load_settings
from collector.start import command_line
from collector.store import open_store
from collector.web import serving
from protocol.documents import SettingsError
from tests.services import BIN, ROOT, Process, free_port, run, wait_for

COLLECTOR = BIN / "cityeye-collector"
PASSWORD = "correct horse battery"
INIT = "init", "--name", "127.0.0.1"
ADMIN = "people", "add", "wang", "--admin"
FORM = {"name": "wang", "password": PASSWORD}
PROXY = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}


class Center:
    def __init__(self, folder, more="", listen=None):
        self.folder = folder
        self.port = free_port()
        self.toml = folder / "center.toml"
        self.write(more, listen)

    def write(self, more="", listen=None):
        listen = listen or f"127.0.0.1:{self.port}"
        self.toml.write_text(
            f'version = 1\n[center]\nid = "demo"\nlisten = "{listen}"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n{more}'
        )

    def do(self, *words, ok=True):
        """Run a command: in this process, where it does not listen."""
        command = [*map(str, words), "--settings", str(self.toml)]
        if words[0] in ("serve", "check"):
            done = run(COLLECTOR, *command)
        else:
            found = CliRunner().invoke(command_line(), command)
            assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
            done = SimpleNamespace(returncode=found.exit_code, stdout=found.stdout, stderr=found.stderr)
        assert ok is None or (done.returncode == 0) == ok, (done.stdout, done.stderr)
        return done

    def says(self, *words, ok=True):
        done = self.do(*words, ok=ok)
        return done.stdout if ok else done.stderr

    def refuses(self, expected, *words):
        """With one line and exit 2."""
        done = self.do(*words, ok=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert expected in done.stderr

    def log(self):
        store = open_store(load_settings(self.toml).database_url)
        with store.transaction() as session:
            assert audit.verify(session).fault is None
            found = [(row.actor, row.action, row.object) for row in reversed(audit.show(session))]
        store.close()
        return found

    def serve(self):
        return Process([COLLECTOR, "serve", "--settings", self.toml], self.folder / "log", self.port)

    def people(self):
        return json.loads(self.says("people", "list", "--json"))

    def file(self, text):
        path = self.folder / "password"
        path.write_text(f"{text}\n", "utf-8")
        return path


@pytest.fixture
def center(tmp_path):
    return Center(tmp_path)


def test_init_makes_the_first_admin_with_a_password_good_once(center):
    told = center.says(*INIT, "--admin", "wang", "--admin-name", "王磊")
    (line,) = [one for one in told.splitlines() if one.startswith("admin")]
    assert "wang, password " in line
    (row,) = center.people()
    assert (row["name"], row["password_once"]) == ("王磊", True)
    assert row["grants"] == [{"role": "admin", "street": "*", "by": "system"}]
    assert ("system", "person.add", "person/wang") in center.log()


def test_init_takes_a_password_from_a_file_alone(center):
    center.do(*INIT, "--admin", "wang", "--admin-password-file", center.file(PASSWORD))
    (row,) = center.people()
    assert not row["password_once"]


@pytest.mark.parametrize(("password", "once"), [(PASSWORD, False), ("", True)])
def test_at_a_terminal_init_asks_for_them(center, monkeypatch, password, once):
    monkeypatch.setattr(first, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    typed = f"wang\n王磊\n{password}\n{password}\n"
    found = CliRunner().invoke(command_line(), [*INIT, "--settings", str(center.toml)], input=typed)
    assert found.exit_code == 0, found.output
    assert PASSWORD not in found.output
    assert ("wang, password" in found.output) is once
    (row,) = center.people()
    assert (row["id"], row["name"], row["password_once"]) == ("wang", "王磊", once)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--admin", "Wang Lei"], "expected a sign-in name"),
        (["--admin", "wang", "--admin-password-file", "missing"], "expected a file with a password"),
        (["--admin", "wang", "--admin-password-file", "short"], "expected 12 to 256 characters"),
    ],
)
def test_an_impossible_first_admin_leaves_nothing_half_made(center, words, expected):
    (center.folder / "short").write_text("short")
    words = [str(center.folder / word) if word in ("missing", "short") else word for word in words]
    center.refuses(expected, *INIT, *words)
    assert not (center.folder / "ca").exists()


def test_without_a_terminal_init_says_how_to_make_an_admin(center):
    assert "cityeye-collector people add ID --admin" in center.says(*INIT)
    assert center.people() == []


def test_a_life_of_a_person_at_the_command_line(center):
    told = center.says("people", "add", "wang", "--name", "王磊", "--admin")
    assert "password " in told
    assert "password" not in center.says(
        "people", "add", "li", "--grant", "operator@s", "--grant", "viewer", "--password-file", center.file(PASSWORD)
    )
    center.do("people", "grant", "li", "officer@s")
    center.do("people", "revoke", "li", "viewer")
    assert re.search("operator@s, officer@s|officer@s, operator@s", center.says("people", "list"))
    center.do("people", "password", "li")
    center.do("people", "totp-reset", "li")
    center.do("people", "unlock", "li")
    token = center.says("tokens", "add", "li", "大屏", "--days", "30", "--all-roles").strip()
    assert token.startswith("cet_")
    (listed,) = json.loads(center.says("tokens", "list", "--json"))
    center.do("tokens", "revoke", listed["id"])
    assert "revoked" in center.says("tokens", "list")
    center.do("people", "disable", "li")
    assert "disabled" in center.says("people", "list")
    center.do("people", "enable", "li")
    log = center.log()
    assert {actor.partition(":")[0] for actor, _, _ in log} == {"system"}
    assert all(actor != "system" for actor, _, _ in log), "it says which user of the machine"
    assert [action for _, action, _ in log] == [
        *("person.add", "person.add", "person.grant", "person.revoke", "person.password_reset", "person.unlock"),
        *("token.add", "token.revoke", "person.disable", "person.enable"),
    ]
    shown = center.says("audit", "show", "--of", "person/li", "--last", "2")
    assert [line.split("\t")[3] for line in shown.splitlines()] == ["person.disable", "person.enable"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["people", "grant", "zhao", "viewer"], "found no 'zhao'"),
        (["people", "grant", "wang", "boss"], "expected a role"),
        (["people", "revoke", "wang", "admin"], "the last who administers everywhere"),
        (["people", "add", "wang"], "somebody has it"),
        (["people", "add", "li", "--sso", "x"], "expected [sso] in the settings"),
        (["people", "link", "wang", "x"], "expected [sso] in the settings"),
        (["tokens", "add", "wang", "x", "--grant", "auditor"], "expected a role that wang has"),
        (["tokens", "add", "wang", "x"], "expected --grant ROLE, or --all-roles"),
        (["tokens", "add", "wang", "x", "--grant", "admin", "--all-roles"], "expected --grant ROLE, or --all-roles"),
        (["people", "change", "wang", "--phone", "12345"], "phone: expected a mobile number"),
        (["people", "change", "wang", "--mail", "wang"], "mail: expected an address"),
        (["tokens", "revoke", "x"], "expected a token of this center"),
        (["audit", "verify", "--noted", "x"], "expected NUMBER:HASH"),
    ],
)
def test_what_cannot_be_gets_one_line_and_exit_2(center, words, expected):
    center.do(*ADMIN)
    center.refuses(expected, *words)


def test_where_somebody_is_told_is_changed(center):
    told = center.says("people", "add", "li", "--grant", "officer@s", "--phone", "+86 138-0000-1111", "--program")
    assert "password" not in told, "a program has tokens alone"
    for words, expected in (
        ((), ("13800001111", "")),
        (("--mail", "li@example.org"), ("13800001111", "li@example.org")),
        (("--phone", "", "--name", "李梅"), ("", "li@example.org")),
    ):
        assert ("changed" if words else "is so already") in center.says("people", "change", "li", *words)
        (row,) = center.people()
        assert (row["phone"], row["mail"]) == expected
    assert (row["name"], row["password"]) == ("李梅", False)
    assert [action for _, action, _ in center.log()] == ["person.add", "person.change", "person.change"]
    assert center.says("tokens", "add", "li", "x", "--grant", "officer@s").startswith("cet_")


def test_the_audit_log_is_checked_at_the_command_line(center):
    center.do(*ADMIN)
    center.do("people", "grant", "wang", "operator")
    head = center.says("audit", "head").strip()
    assert center.says("audit", "verify", "--noted", head) == f"ok    2 lines, head {head}\n"
    with closing(sqlite3.connect(center.folder / "data/center.db")) as database:
        database.execute("DROP TRIGGER audit_no_delete")
        database.execute("DELETE FROM audit WHERE number = 2")
        database.commit()
    assert center.do("audit", "verify").returncode == 0
    done = center.do("audit", "verify", "--noted", head, ok=False)
    assert done.returncode == 1
    assert "lines 2 to 2 are missing at the end" in done.stdout


def test_what_was_done_to_boxes_is_on_record(center):
    center.do(*INIT)
    center.write('[enrolment]\nurl = "https://127.0.0.1:1"\n')
    center.do("boxes", "add", "--site", "s", "--count", "2")
    center.do("boxes", "renew", "s-0001")
    center.do("boxes", "admit", "s-0002", "--site", "s")
    center.do("boxes", "revoke", "s-0001", ok=None)
    center.do("command", "s-0002", "snapshot", "--camera", "c", "--no-wait")
    log = [(action, of) for _, action, of in center.log()]
    assert [one for one in log if one[0] != "certificate.issue"] == [
        *[("boxes.add", "street/s"), ("boxes.renew", "box/s-0001"), ("boxes.admit", "box/s-0002")],
        *[("boxes.revoke", "box/s-0001"), ("box.snapshot", "box/s-0002")],
    ]
    assert log[0] == ("certificate.issue", "certificate/cityeye-server")


def test_what_the_example_offers_can_be_taken_in(tmp_path):
    """Every line about pages, people and single sign-on that is commented out there."""
    text = (ROOT / "config/center.example.toml").read_text("utf-8")
    head, tail = text.split("# [pages]", 1)
    path = tmp_path / "center.toml"
    path.write_text(head + re.sub(r"(?m)^# (?=\[|\w+ = )", "", f"# [pages]{tail}"), "utf-8")
    settings = load_settings(path).settings
    assert settings.pages.url == "https://center.example"
    assert settings.people.second_factor == "admins"
    assert settings.sso.roles["street-admins"] == ("admin@xiaohe",)


def test_copies_are_on_record(center):
    center.do(*ADMIN)
    center.do("backup", center.folder / "copy")
    center.do("people", "grant", "wang", "auditor")
    center.do("restore", center.folder / "copy", "--over")
    assert [action for _, action, _ in center.log()] == ["person.add", "store.restore"]


URL = 'url = "https://localhost"\n'


@pytest.mark.parametrize(
    ("more", "listen", "expected"),
    [
        ("", "0.0.0.0:8080", "expected a loopback address"),
        ("", "center.example:8080", "expected a loopback address"),
        (f"[pages]\n{URL}", None, "expected certificate and key with it, or proxies"),
        (f'[pages]\n{URL}certificate = "x"\n', None, "expected certificate and key, both or none"),
        ('[pages]\nproxies = ["127.0.0.1"]\n', None, "expected url"),
        (f'[pages]\n{URL}proxies = ["*"]\n', None, "expected addresses or networks"),
        ('[pages]\nurl = "http://x"\nproxies = ["127.0.0.1"]\n', None, "expected https://HOST"),
        (f'[pages]\n{URL}certificate = "x"\nkey = "y"\n', None, "expected a first admin"),
        (f'[pages]\n{URL}proxies = ["10.0.0.0/8"]\n', "0.0.0.0:{port}", "expected a first admin"),
        ("[people]\nidle_min = 0\n", None, "idle_min"),
        ('[people]\nsecond_factor = "none"\n', None, "second_factor"),
    ],
)
def test_pages_that_others_reach_want_tls_and_an_admin(center, more, listen, expected):
    center.do("people", "list")  # makes the database
    center.write(more, listen and listen.format(port=center.port))
    with pytest.raises(SettingsError) as found:
        ready(center)
    assert expected in str(found.value)
    assert "\n" not in str(found.value)


def ready(center):
    config = load_settings(center.toml)
    store = open_store(config.database_url)
    try:
        serving.check_people(config, store)
    finally:
        store.close()


def test_serve_does_not_begin_without_an_admin(center):
    center.do("people", "list")
    center.write(f'[pages]\n{URL}proxies = ["10.0.0.0/8"]\n', f"0.0.0.0:{center.port}")
    center.refuses("expected a first admin", "serve")


def test_check_tells_what_is_missing(center):
    center.write(f'[pages]\n{URL}certificate = "x"\nkey = "y"\n')
    assert "FAIL  pages: [pages] url: expected a first admin" in center.do("check", ok=False).stdout
    center.do(*ADMIN)
    assert "FAIL  pages: [pages] certificate, key: expected a certificate in PEM" in center.do("check", ok=False).stdout
    center.write()
    assert "is free; people: 1, with somebody who administers everywhere" in center.do("check", ok=False).stdout


@pytest.fixture
def certificate(tmp_path):
    """A CA and a certificate for localhost."""
    authority = Authority.create(tmp_path / "tls", "test", time.time())
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue(key.public_key(), "pages", "server", time.time(), 5, ["localhost", "127.0.0.1"])
    (tmp_path / "pages.crt").write_text(issued.pem)
    (tmp_path / "pages.key").write_bytes(private_pem(key))
    assert stat.S_ISREG((tmp_path / "pages.key").stat().st_mode)
    return ssl.create_default_context(cafile=tmp_path / "tls/ca.crt")


def test_somebody_signs_in_over_tls_from_elsewhere(center, certificate):
    url = f"https://localhost:{center.port}"
    center.do(*ADMIN, "--password-file", center.file(PASSWORD))
    pages = f'[pages]\nurl = "{url}"\ncertificate = "pages.crt"\nkey = "pages.key"\n'
    center.write(pages, f"0.0.0.0:{center.port}")
    with center.serve() as process:
        with httpx.Client(verify=certificate, base_url=url) as client:
            wait_for(lambda: client.get("/sign-in").status_code == 200, "pages are served")
            assert client.get("/api/tickets").status_code == 401
            done = client.post("/sign-in", data=FORM, headers={"origin": url})
            assert done.status_code == 303, done.text
            page = client.get("/account?lang=en").text
            assert "Change your password first" in page
            assert client.get("/", headers={"accept": "text/html"}).headers["location"] == "/account"
            # loopback itself is this machine, under TLS as well
            assert client.get("/healthz").status_code == 503
        assert process.stop() == 0
    assert re.search(r"audit log at \d+:", process.text())
    assert PASSWORD not in process.text()


def test_behind_a_proxy_the_caller_is_who_the_proxy_says(center):
    center.do(*ADMIN, "--password-file", center.file(PASSWORD))
    center.write('[pages]\nurl = "https://center.example"\nproxies = ["127.0.0.1"]\n')
    with center.serve():
        headers = {**PROXY, "host": "center.example", "origin": "https://center.example"}
        done = httpx.post(f"http://127.0.0.1:{center.port}/sign-in", data=FORM, headers=headers)
        assert done.status_code == 303
        assert "__Host-cityeye" in done.headers["set-cookie"]
        assert httpx.get(f"http://127.0.0.1:{center.port}/healthz").status_code == 401
    shown = json.loads(center.says("audit", "show", "--last", "1", "--json"))
    assert shown["detail"] == {"address": "203.0.113.9", "method": "password"}


def test_without_a_proxy_nobody_seems_elsewhere(center):
    center.do(*ADMIN, "--password-file", center.file(PASSWORD))
    with center.serve():
        url = f"http://127.0.0.1:{center.port}"
        headers = {**PROXY, "sec-fetch-site": "same-origin"}
        done = httpx.post(f"{url}/sign-in", data=FORM, headers=headers)
        assert done.status_code == 303
    shown = json.loads(center.says("audit", "show", "--last", "1", "--json"))
    assert shown["detail"]["address"] == "127.0.0.1"
