"""Second factors at rest: sealed beside the database, opened by their key alone, and rotated."""

import base64
import os
import stat

import pytest

from collector.people import roster, signing
from collector.people.signing import WrongError
from collector.people.vault import KEY_FILE, Vault, VaultError
from collector.store import PersonRow, open_store
from tests.collector.people.test_people_commands import Center
from tests.collector.people.test_signing import Office

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def path(tmp_path):
    return tmp_path / KEY_FILE


def test_the_key_is_made_once_and_opens_what_it_sealed(path):
    vault = Vault(path)
    assert not path.exists(), "nothing is sealed yet"
    kept = vault.seal("li", SECRET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in kept
    assert Vault(path).open("li", kept) == SECRET
    assert vault.seal("li", SECRET) != kept, "the same secret does not look the same"
    assert [one.name for one in path.parent.iterdir()] == [KEY_FILE]


def test_collectors_that_begin_together_have_one_key(path):
    one, other = Vault(path), Vault(path)
    first, second = one._make(), other._make()
    assert first == second
    assert one.open("li", other.seal("li", SECRET)) == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_that_root_writes_stays_the_collectors(path):
    os.chown(path.parent, 12345, 12346)
    for write in (lambda: Vault(path).seal("li", SECRET), Vault(path).add_key):
        write()
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12346, 0o600)
        os.chown(path.parent, 0, 0)


def test_a_key_and_its_name_are_on_disk_before_it_seals(path, monkeypatch):
    synced, sync = [], os.fsync

    def follow(number):
        synced.append(os.fstat(number).st_ino)
        sync(number)

    monkeypatch.setattr(os, "fsync", follow)
    Vault(path).seal("li", SECRET)
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]


def test_a_key_that_cannot_be_kept_leaves_nothing_behind(path, monkeypatch):
    def link(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(VaultError, match="no links here"):
        Vault(path).seal("li", SECRET)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path, kept: (path.unlink(), kept)[1], "found it not; put the file back"),
        (lambda path, kept: (path.write_text(base64.b64encode(bytes(32)).decode()), kept)[1], "found it not"),
        (lambda path, kept: (path.write_text("x"), kept)[1], "expected keys"),
        (lambda path, kept: (path.write_text(""), kept)[1], "expected keys of 32 bytes"),
        (lambda _path, kept: kept[:-4] + "AAA=", "it does not open"),
        (lambda _path, _kept: SECRET, "found it not"),
    ],
)
def test_what_does_not_open_says_what_to_do(path, spoil, expected):
    kept = spoil(path, Vault(path).seal("li", SECRET))
    with pytest.raises(VaultError, match=expected) as fault:
        Vault(path).open("li", kept)
    assert SECRET not in str(fault.value)


def test_what_is_sealed_for_one_opens_for_nobody_else(path):
    with pytest.raises(VaultError, match="it does not open"):
        Vault(path).open("wang", Vault(path).seal("li", SECRET))


@pytest.fixture
def office(desk, path):
    office = Office(desk, vault=Vault(path))
    office.person("li", "operator")
    return office


def enter(office, typed):
    return office.enter(office.password("li"), typed).stage


def test_without_the_key_a_recovery_code_still_lets_in(office, path):
    secret, codes = office.with_totp("li")
    assert enter(office, office.code(secret)) == "full"
    kept = path.read_bytes()
    path.unlink()
    office.now_ms += 30_000
    with pytest.raises(WrongError):
        enter(office, office.code(secret))
    assert enter(office, codes[0]) == "full"
    path.write_bytes(kept)
    assert enter(office, office.code(secret)) == "full"


def test_an_unconfirmed_app_is_asked_for_anew_without_the_key(office, path):
    caller = office.caller("li")
    first = office.signing.ask_totp(caller)
    assert office.signing.ask_totp(caller) == first
    path.unlink()
    second = office.signing.ask_totp(caller)
    assert second != first
    assert office.signing.confirm_totp(caller, office.code(second))


def test_changing_a_second_factor_waits_for_a_rotation(office, monkeypatch):
    caller, done, find = office.caller("li"), [], roster.find

    def found(session, person):
        done.append("read")
        return find(session, person)

    asked = office.signing.ask_totp(caller)
    monkeypatch.setattr(signing, "lock", lambda _session, names: done.extend(names))
    monkeypatch.setattr(roster, "find", found)
    typed = office.code(asked)
    for act in (
        lambda: office.signing.ask_totp(caller),
        lambda: office.signing.confirm_totp(caller, typed),
        lambda: office.signing.drop_totp(caller),
    ):
        done.clear()
        act()
        assert done[:2] == ["people", "read"], "a row that was read before the lock may be sealed with an old key"


def test_rotation_at_the_command_line(tmp_path):
    center = Center(tmp_path)
    center.do("people", "add", "li", "--admin")
    store, vault = open_store(f"sqlite:///{tmp_path / 'data/center.db'}"), Vault(tmp_path / "data" / KEY_FILE)
    with store.writing() as session:
        session.get_one(PersonRow, "li").totp = vault.seal("li", SECRET)
    assert "1 second factors" in center.says("people", "rekey")
    first = vault._keys()
    assert "1 second factors" in center.says("people", "rekey")
    (second,) = vault._keys()
    assert second not in first
    with store.transaction() as session:
        assert vault.open("li", session.get_one(PersonRow, "li").totp) == SECRET
    (tmp_path / "data" / KEY_FILE).unlink()
    for words in (("people", "rekey"), ("check",)):
        done = center.do(*words, ok=False)
        assert "expected the key" in done.stdout + done.stderr
    assert not vault._keys(), "a new key would hide that the old one is lost"
    center.do("people", "totp-reset", "li")
    assert "0 second factors" in center.says("people", "rekey")
    assert "people.rekey" in [action for _, action, _ in center.log()]
    store.close()
