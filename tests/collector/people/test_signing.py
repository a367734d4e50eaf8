"""Signing in: both steps, sessions, tokens, one's own account, and who may change whom."""

import base64
from functools import partial
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher

from collector.people import audit, roster, sessions, tokens, totp
from collector.people.actor import SYSTEM, Actor, Grant
from collector.people.lockout import TooManyError
from collector.people.passwords import PasswordError
from collector.people.roster import NotAllowedError, PeopleError
from collector.people.sessions import Ages
from collector.people.signing import Signing, Source, WrongError
from collector.store import PersonRow, RecoveryRow, SignInRow, TokenRow
from tests.collector.conftest import Desk, at_once
from tests.people import PASSWORD, QUICK, make_person

HERE = Source("192.0.2.1", "Firefox")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Office:
    """Signing in with a clock that is moved by hand."""

    def __init__(self, desk, ages=None, policy="optional", **options):
        self.desk, self.store, self.do, self.row = desk, desk.store, desk.write, desk.get
        self.now_ms = 1_780_000_000_000
        ages = ages or Ages(HOUR, 12 * HOUR)
        self.signing = Signing(desk.store, lambda: self.now_ms, QUICK, ages, policy, **options)

    def person(self, person="wang", *grants, password=PASSWORD, **options):
        return make_person(self.store, person, *grants, password=password, at_ms=self.now_ms, **options)

    def password(self, person="wang", password=PASSWORD, source=HERE):
        return self.signing.password(person, password, source)

    def enter(self, half, typed):
        return self.signing.code(half.cookie, typed, HERE)

    def who(self, session, **options):
        return self.signing.caller(session.cookie, **options)

    def caller(self, person="wang", password=PASSWORD):
        found = self.who(self.password(person, password))
        assert found is not None
        return found

    def with_totp(self, person="wang"):
        """Somebody with a second factor; returns secret and recovery codes."""
        if self.row(PersonRow, person) is None:
            self.person(person)
        caller = self.caller(person)
        secret = self.signing.ask_totp(caller)
        codes = self.signing.confirm_totp(caller, self.code(secret))
        self.now_ms += 30_000
        return secret, codes

    def code(self, secret, off=0):
        return totp.code(base64.b32decode(secret), totp.step_at(self.now_ms) + off)

    def actions(self):
        assert self.desk.read(audit.verify).fault is None
        return [row.action for row in reversed(self.desk.read(audit.show))]

    def change(self, act, *args, by=SYSTEM):
        return self.do(act, by, *args, self.now_ms)


def wrong(act, *args, match=None):
    with pytest.raises(WrongError, match=match):
        act(*args)


@pytest.fixture
def office(tmp_path):
    desk = Desk(tmp_path)
    yield Office(desk)
    desk.store.close()


def test_two_that_use_one_code_at_the_same_time_are_one(desk):
    office = Office(desk)
    secret, codes = office.with_totp()
    for typed in (office.code(secret), codes[0]):

        def use(half, typed=typed):
            try:
                return office.enter(half, typed).stage
            except WrongError:
                return "wrong"

        halves = [office.password() for _ in range(4)]
        assert sorted(at_once(*(partial(use, half) for half in halves))) == ["full", "wrong", "wrong", "wrong"]


def test_many_guesses_at_once_count_as_many(desk):
    office = Office(desk)
    office.person("wang")

    def guess():
        with pytest.raises((WrongError, TooManyError)) as found:
            office.password("wang", "wrong")
        return found.type

    outcomes = at_once(*[guess] * 12)
    assert (outcomes.count(WrongError), outcomes.count(TooManyError)) == (5, 7)


def test_the_right_password_gives_a_session(office):
    office.person("wang", "operator@s")
    found = office.password(" Wang ", PASSWORD)
    caller = office.who(found)
    assert caller.actor == Actor("person", "wang", "Wang", frozenset({Grant.read("operator@s")}))
    assert found.stage == "full"
    assert office.actions() == ["person.add", "sign_in"]
    row = office.row(SignInRow, sessions.kept(found.cookie))
    assert (row.address, row.browser, row.method) == ("192.0.2.1", "Firefox", "password")
    assert found.cookie not in (row.id_sha256, found.device)


@pytest.mark.parametrize(("name", "password"), [("wang", "wrong"), ("li", PASSWORD), ("", ""), ("x" * 5000, PASSWORD)])
def test_wrong_names_and_wrong_passwords_look_the_same(office, name, password):
    office.person("wang")
    wrong(office.password, name, password, match="the sign-in name or the password is wrong")


def test_every_try_hashes_once_with_the_same_parameters(office, monkeypatch):
    """So that the time it takes does not tell whether there is such a person."""
    for person in ("wang", "gone"):
        office.person(person)
    office.person("elsewhere", password=None)
    office.person("chief", "admin")
    office.change(roster.disable, "gone")
    seen = []
    verify = QUICK._hasher.verify
    monkeypatch.setattr(
        QUICK, "_hasher", SimpleNamespace(verify=lambda kept, word: seen.append(kept) or verify(kept, word))
    )
    for number, name in enumerate(("wang", "gone", "elsewhere", "nobody", "", "王")):
        wrong(office.password, name, "wrong", Source(f"192.0.2.{number}"))
        assert len(seen) == number + 1
    assert {kept.rpartition("p=1$")[0] for kept in seen} == {"$argon2id$v=19$m=8,t=1,"}


def test_too_many_failures_make_the_right_password_wait(office):
    office.person("wang")
    for _ in range(5):
        wrong(office.password, "wang", "wrong")
    with pytest.raises(TooManyError):
        office.password()
    office.now_ms += 30_000
    office.password()
    assert office.actions() == ["person.add", "sign_in.delayed", "sign_in"]


def test_a_known_browser_is_not_kept_out_by_others(office):
    office.person("wang")
    device = office.password().device
    for _ in range(5):
        wrong(office.password, "wang", "wrong")
    office.password("wang", PASSWORD, Source(HERE.address, device=device))


def test_a_hash_of_old_parameters_is_made_anew(office):
    office.person("wang")
    with office.store.writing() as session:
        old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
        session.get(PersonRow, "wang").password = old
    office.password()
    assert office.row(PersonRow, "wang").password != old
    office.password()


def test_with_a_second_factor_a_password_alone_opens_nothing(office):
    secret, _ = office.with_totp()
    half = office.password()
    assert (half.stage, half.device) == ("code", "")
    assert office.who(half) is None
    wrong(office.enter, half, "000000", match="the code is wrong")
    full = office.enter(half, office.code(secret))
    assert office.who(full).actor.id == "wang"
    # the half session is gone, and with it its cookie
    assert full.cookie != half.cookie
    wrong(office.enter, half, office.code(secret, 1), match="begin again")


@pytest.mark.parametrize("again", [0, -1])
def test_a_code_is_good_once_and_no_older_one_after_it(office, again):
    secret, _ = office.with_totp()
    office.enter(office.password(), office.code(secret))
    half = office.password()
    wrong(office.enter, half, office.code(secret, again), match="used before")
    office.enter(half, office.code(secret, 1))


def test_the_code_that_set_it_up_is_used_as_well(office):
    secret, _ = office.with_totp()
    office.now_ms -= 30_000
    half = office.password()
    wrong(office.enter, half, office.code(secret))


def test_a_recovery_code_is_good_once(office):
    _, codes = office.with_totp()
    assert len(set(codes)) == 10
    half = office.password()
    office.enter(half, f" {codes[3].upper().replace('-', ' ')} ")
    half = office.password()
    wrong(office.enter, half, codes[3])
    office.enter(half, codes[4])
    assert office.desk.count(RecoveryRow) == 8


def test_recovery_codes_of_another_are_worth_nothing(office):
    _, codes = office.with_totp()
    office.with_totp("li")
    half = office.password("li", PASSWORD)
    wrong(office.enter, half, codes[0])


def test_wrong_codes_end_the_half_session_and_slow_down(office):
    secret, _ = office.with_totp()
    half = office.password()
    for _ in range(sessions.WRONG_CODES):
        wrong(office.enter, half, "000000")
    wrong(office.enter, half, office.code(secret), match="begin again")
    # the right password does not wipe the count of wrong codes
    with pytest.raises(TooManyError):
        office.password()


def test_a_half_session_ends_after_five_minutes(office):
    secret, _ = office.with_totp()
    half = office.password()
    office.now_ms += 5 * MINUTE
    wrong(office.enter, half, office.code(secret), match="begin again")


@pytest.mark.parametrize(
    ("times", "each_ms", "then_ms", "background"),
    [
        (5, HOUR - 1, HOUR, False),  # nobody uses it
        (59, MINUTE, MINUTE, True),  # a page that asks by itself does not keep it alive
        (23, HOUR // 2, HOUR // 2, False),  # in any case after its absolute age
        (0, 0, -2 * HOUR, False),  # a clock set back makes none live longer
    ],
)
def test_a_session_ends(office, times, each_ms, then_ms, background):
    office.person("wang")
    session = office.password()
    for _ in range(times):
        office.now_ms += each_ms
        assert office.who(session, background=background)
    office.now_ms += then_ms
    assert office.who(session, background=background) is None


@pytest.mark.parametrize("cookie", ["", "x", "é", "0" * 64, "../.."])
def test_a_made_up_cookie_is_nobody(office, cookie):
    assert office.signing.caller(cookie) is None


def test_signing_out_ends_the_session_at_the_center(office):
    office.person("wang")
    caller = office.caller()
    office.signing.sign_out(caller)
    assert office.who(caller) is None
    assert office.actions()[-1] == "sign_out"


def test_a_first_password_must_be_changed_and_ends(office):
    office.person("wang", "operator", once=True)
    caller = office.caller()
    assert caller.must == "password"
    office.signing.change_password(caller, PASSWORD, "another horse battery", HERE)
    assert office.who(caller).must == ""
    office.person("li", once=True)
    office.now_ms += roster.ONCE_MS
    wrong(office.password, "li", PASSWORD)


def test_changing_the_password_ends_the_old_one_and_other_sessions(office):
    office.person("wang")
    one, other = office.caller(), office.caller()
    wrong(
        office.signing.change_password,
        one,
        "wrong",
        "another horse battery",
        HERE,
        match="the present password is wrong",
    )
    with pytest.raises(PasswordError, match="another password"):
        office.signing.change_password(one, PASSWORD, PASSWORD, HERE)
    with pytest.raises(PasswordError, match="expected 12"):
        office.signing.change_password(one, PASSWORD, "short", HERE)
    office.signing.change_password(one, PASSWORD, "another horse battery", HERE)
    assert office.who(one)
    assert office.who(other) is None
    wrong(office.password)
    office.password("wang", "another horse battery")


@pytest.mark.parametrize(
    ("policy", "grant", "expected"),
    [("admins", "admin@s", "totp"), ("admins", "operator", ""), ("all", "viewer", "totp"), ("optional", "admin", "")],
)
def test_who_has_to_have_a_second_factor_is_led_to_it(desk, policy, grant, expected):
    office = Office(desk, Ages(), policy)
    office.person("wang", grant)
    caller = office.caller()
    assert caller.must == expected
    secret = office.signing.ask_totp(caller)
    assert office.signing.ask_totp(caller) == secret
    wrong(office.signing.confirm_totp, caller, "000000")
    office.signing.confirm_totp(caller, office.code(secret))
    assert office.who(caller).must == ""
    office.signing.drop_totp(caller)
    assert office.who(caller).must == expected


def token(office, person="wang", *grants, days=1.0):
    given = [Grant.read(text) for text in grants] or office.desk.read(roster.grants, person)
    return office.change(tokens.make, person, "counter", given, days)


def test_a_token_has_what_it_was_given_and_its_owner_has(office):
    office.person("wang", "operator@s", "viewer", "admin@t")
    made = token(office, "wang", "operator@s", "viewer@s")
    who = office.signing.bearer(made.text).actor
    assert who.grants == {Grant.read("operator@s"), Grant.read("viewer@s")}
    assert who.via == f"token/{made.id}"
    office.change(roster.take, "wang", Grant.read("operator@s"))
    assert office.signing.bearer(made.text).actor.grants == {Grant.read("viewer@s")}
    office.change(roster.give, "wang", Grant.read("operator"))
    assert office.signing.bearer(made.text).actor.grants == {Grant.read("viewer@s"), Grant.read("operator@s")}
    assert made.text not in str(vars(office.row(TokenRow, made.id)))


def test_a_token_never_has_more_than_its_owner(office):
    office.person("wang", "operator@s")
    for wanted in ("operator", "admin@s", "operator@t"):
        with pytest.raises(PeopleError, match="expected a role that wang has"):
            token(office, "wang", wanted)
    # one that was made with all that they had does not grow with them
    made = token(office)
    office.change(roster.give, "wang", Grant.read("admin"))
    assert office.signing.bearer(made.text).actor.grants == {Grant.read("operator@s")}


def test_a_token_ends_in_time_revoked_or_with_its_owner(office):
    office.person("wang", "operator")
    made = token(office)
    assert office.row(TokenRow, made.id).used_ms is None
    assert office.signing.bearer(made.text)
    assert office.row(TokenRow, made.id).used_ms == office.now_ms
    office.now_ms += DAY
    assert office.signing.bearer(made.text) is None
    second, third = token(office), token(office)
    assert office.change(tokens.revoke, second.id)
    assert not office.change(tokens.revoke, second.id)
    assert office.signing.bearer(second.text) is None
    office.change(roster.disable, "wang")
    assert office.signing.bearer(third.text) is None
    office.change(roster.enable, "wang")
    assert office.signing.bearer(third.text) is None, "what was ended does not come back"


def test_a_token_has_a_role_or_is_none(office):
    office.person("wang", "operator")
    with pytest.raises(PeopleError, match="expected at least one role"):
        office.change(tokens.make, "wang", "counter", [], 1)


def test_a_token_waits_for_its_owners_own_password(office):
    office.person("wang", "operator", once=True)
    made = token(office)
    assert office.signing.bearer(made.text).must == "password", "the gate lets nobody through who must"
    assert office.row(TokenRow, made.id).used_ms is None
    office.signing.change_password(office.caller(), PASSWORD, "another horse battery", HERE)
    assert office.signing.bearer(made.text).must == ""


def test_other_texts_are_no_tokens(office):
    office.person("wang", "operator")
    made = token(office)
    other = token(office)
    for text in ("", "x", made.text[:-1], made.text + "x", made.text.replace(made.id, other.id), made.text.upper()):
        assert office.signing.bearer(text) is None
    for days in (0, -1, 401, float("nan")):
        with pytest.raises(PeopleError, match="at most 400 days"):
            token(office, days=days)


def test_who_is_disabled_is_out_at_once(office):
    office.person("wang", "operator")
    office.person("li", "admin")
    caller = office.caller()
    office.change(roster.disable, "wang")
    assert office.who(caller) is None
    wrong(office.password)


def test_a_reset_ends_what_a_thief_could_still_hold(office):
    office.person("wang", "operator")
    caller, made = office.caller(), token(office)
    office.change(roster.reset_password, "wang", QUICK.hash("given by telephone"))
    assert office.who(caller) is None
    assert office.signing.bearer(made.text) is None
    assert office.caller(password="given by telephone").must == "password"


def test_a_lost_telephone(office):
    office.with_totp()
    assert office.change(roster.reset_totp, "wang")
    assert office.password().stage == "full"
    assert office.desk.count(RecoveryRow) == 0


def test_the_last_admin_stays(office):
    office.person("wang", "admin", "operator")
    office.person("li", "admin@s")
    for act in (
        lambda: office.change(roster.disable, "wang"),
        lambda: office.change(roster.take, "wang", Grant.read("admin")),
    ):
        with pytest.raises(PeopleError, match="the last who administers everywhere"):
            act()
    office.change(roster.take, "wang", Grant.read("operator"))
    office.change(roster.give, "li", Grant.read("admin"))
    office.change(roster.disable, "wang")


def test_an_admin_of_one_street_stays_within_it(office):
    office.person("wang", "admin@s")
    office.person("li", "operator@s")
    office.person("zhao", "operator@s", "viewer@t")
    office.person("chief", "admin")
    me = office.do(lambda session: roster.as_actor(session, roster.find(session, "wang")))
    at = office.now_ms
    office.change(roster.give, "li", Grant.read("officer@s"), by=me)
    office.change(roster.take, "zhao", Grant.read("operator@s"), by=me)
    office.change(roster.disable, "li", by=me)
    office.do(roster.add, me, "new", "New", [Grant.read("viewer@s")], now_ms=at)
    for act in (
        lambda: office.change(roster.give, "wang", Grant.read("admin"), by=me),
        lambda: office.change(roster.give, "li", Grant.read("viewer@t"), by=me),
        lambda: office.change(roster.take, "zhao", Grant.read("viewer@t"), by=me),
        lambda: office.change(roster.take, "chief", Grant.read("admin"), by=me),
        lambda: office.change(roster.disable, "zhao", by=me),
        lambda: office.change(roster.reset_password, "chief", "x", by=me),
        lambda: office.change(roster.reset_totp, "chief", by=me),
        lambda: office.change(roster.link_sso, "chief", "https://x", "1", by=me),
        lambda: office.change(roster.unlock, "chief", by=me),
        lambda: office.do(roster.add, me, "other", "Other", [Grant.read("admin")], now_ms=at),
        lambda: office.change(tokens.revoke, token(office, "chief").id, by=me),
    ):
        with pytest.raises(NotAllowedError):
            act()


def test_who_administers_nothing_changes_nobody(office):
    office.person("wang", "operator")
    office.person("li")
    me = office.do(lambda session: roster.as_actor(session, roster.find(session, "wang")))
    for act in (roster.disable, roster.enable, roster.reset_totp, roster.unlock):
        with pytest.raises(NotAllowedError):
            office.change(act, "li", by=me)


@pytest.mark.parametrize("person", ["", "Wang", "-x", "a b", "王磊", "x" * 64, "a/b", "a\nb"])
def test_what_is_no_sign_in_name_is_said(office, person):
    with pytest.raises(PeopleError, match="expected a sign-in name"):
        office.person(person)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "\x1b[31m"])
def test_what_is_no_name_is_said(office, name):
    with pytest.raises(PeopleError, match="expected a name"):
        office.do(roster.add, SYSTEM, "wang", name, [], now_ms=1)


def test_a_name_is_never_given_again(office):
    office.person("wang")
    with pytest.raises(PeopleError, match="somebody has it"):
        office.person("wang")


def test_every_change_is_on_record_without_secrets(office):
    office.person("chief", "admin")
    office.person("wang", "operator@s", once=True)
    caller = office.caller()
    office.signing.change_password(caller, PASSWORD, "another horse battery", HERE)
    secret = office.signing.ask_totp(caller)
    codes = office.signing.confirm_totp(caller, office.code(secret))
    made = token(office)
    office.signing.new_recovery(caller)
    office.signing.end_others(caller)
    office.signing.drop_totp(caller)
    office.change(tokens.revoke, made.id)
    office.change(roster.unlock, "wang")
    office.change(roster.disable, "wang")
    assert office.actions() == [
        *("person.add", "person.add", "sign_in", "person.password", "person.totp", "token.add", "person.recovery"),
        *("person.sessions_end", "person.totp_drop", "token.revoke", "person.unlock", "person.disable"),
    ]
    log = " ".join(row.detail for row in office.desk.read(audit.show))
    for word in (PASSWORD, "another horse", secret, made.text[-20:], caller.cookie, codes[0], "argon2"):
        assert word not in log
