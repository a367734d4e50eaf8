"""Calls and commands about notices, and the settings that they come from."""

import json
import signal
import socket
import time
import urllib.request

import pytest
from starlette.testclient import TestClient

from collector.notices.orders import NoticeOrder, order
from collector.notices.settings import NoticesSection
from collector.settings import load_settings
from collector.web.app import Health, make_app
from collector.web.live import Changes
from protocol.documents import SettingsError
from tests.collector.conftest import Desk
from tests.collector.notices.conftest import sms
from tests.collector.notices.servers import Say
from tests.incidents import Case
from tests.people import center_settings
from tests.services import BIN, ROOT, Broker, Process, answers, free_port, run, wait_for

COLLECTOR = BIN / "cityeye-collector"


@pytest.fixture
def client(office):
    settings = center_settings(notices=office.notices, shop_pages=office.pages)
    health = Health(lambda: True, lambda: True)
    app = make_app(settings.center, office.desk.store, office.desk.files, Changes(), health, settings=settings)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_a_notice_is_told_with_its_tries_and_no_address(office, service, client):
    service.say(Say(how="cut"))
    office.order()
    office.sender().step(wait=True)
    (short,) = client.get("/api/notices?ticket=1").json()
    assert (short["state"], short["to"], short["kind"]) == ("unsure", "shop-1", "shop_notice")
    whole = client.get("/api/notices/1").json()
    assert [(one["outcome"], one["to"]) for one in whole["attempts"]] == [("unsure", "138****1234")]
    assert "13800001234" not in json.dumps(whole)
    assert client.get("/api/notices/9").status_code == 404
    assert client.get("/api/notices?state=sent").json() == []
    done = client.post("/api/notices/1/decide", json={"decision": "told", "reason": "电话告知"})
    assert (done.status_code, done.json()["state"]) == (200, "sent")
    again = client.post("/api/notices/1/decide", json={"decision": "told", "reason": "x"})
    assert (again.status_code, "this one is sent" in again.json()["detail"]) == (409, True)
    assert client.post("/api/notices/1/decide", json={"decision": "told"}).status_code == 422


def test_channels_and_previews(office, service, client):
    office.order()
    office.sender().step(wait=True)
    (one,) = client.get("/api/notices/channels").json()
    got = (one["id"], one["type"], one["last_outcome"], one["outcomes"])
    assert got == ("sms", "http", "accepted", {"accepted": 1})
    found = client.get("/api/notices/preview?kind=shop_notice&shop=张记&minutes=7").json()
    assert "张记门前" in found["body"]
    assert "7分钟" in found["body"]
    assert found["parts"] == -(-found["characters"] // 67) or found["characters"] <= 70
    assert "within 5 minutes" in client.get("/api/notices/preview?language=en").json()["body"]
    assert "【任务】" in client.get("/api/notices/preview?kind=task").json()["body"]
    for query, words in (
        ("audience=pigeon", "audience: expected one of"),
        ("kind=pigeon", "kind: expected one of shop_notice"),
        ("kind=task&audience=shop", "audience: task goes to community, officer"),
    ):
        refused = client.get(f"/api/notices/preview?{query}")
        assert (refused.status_code, words in refused.text) == (422, True), refused.text


CHANNEL = '[[notices.channel]]\nid = "a"\n'
ROUTE = '[[notices.route]]\naudience = "shop"\nchannels = ["a"]\n'
HEAD = 'version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHANNEL + 'type = "wecom"\nwebhook = "https://x/?key=abc"\n', "expected file:PATH or env:NAME"),
        (
            '[[notices.route]]\naudience = "room"\nchannels = ["b"]\n',
            "expected a channel that there is (none yet), got 'b'",
        ),
        (CHANNEL + 'type = "wecom"\nwebhook = "file:x"\n' + ROUTE, "a writes to a group, not to a shop"),
        (CHANNEL + 'type = "http"\nurl = "http://h/"\n' + ROUTE, "a notice to a shop always says how to object"),
        (
            '[[notices.text]]\naudience = "shop"\nbody = "{shopp}"\n',
            "text shop/*/zh: 没有字段 {shopp} / unknown field {shopp}",
        ),
        ('[[notices.text]]\naudience = "shop"\nbody = "{shop}"\n', "says how to object"),
        ('[shop_pages]\nlisten = "0.0.0.0:1"\n', "expected listen and url, or neither"),
        ('[shop_pages]\nlisten = "0.0.0.0"\nurl = "https://h"\n', "expected HOST:PORT"),
        ('[shop_pages]\nlisten = "0.0.0.0:1"\nurl = "https://h/?a"\n', "expected https://HOST"),
        ('[notices]\nproxy = "http://h:1"\n', "expected HOST:PORT of an HTTP proxy"),
        (
            '[[notices.route]]\naudience = "room"\nchannels = ["a"]\nto = ["duty"]\n',
            "expected a telephone number or a mail address, got 'duty'",
        ),
        (CHANNEL + 'type = "email"\nhost = "h"\nsender = "x"\n', "sender"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path, text, words):
    path = tmp_path / "center.toml"
    path.write_text(HEAD + text)
    with pytest.raises(SettingsError) as fault:
        load_settings(path)
    assert words in str(fault.value)
    assert "key=abc" not in str(fault.value)


def test_the_example_taken_in_is_good(tmp_path):
    """Every line of notices and pages that is commented out."""
    _, _, tail = (ROOT / "config/center.example.toml").read_text("utf-8").partition("# [notices]")
    lines = [line.removeprefix("# ") for line in f"# [notices]{tail}".splitlines()]
    path = tmp_path / "center.toml"
    path.write_text(HEAD + "\n".join(lines), "utf-8")
    settings = load_settings(path).settings
    assert {one.type for one in settings.notices.channel} == {
        "http", "aliyun_sms", "aliyun_voice", "tencent_sms", "tencent_voice", "dingtalk", "wecom", "feishu", "email",
        "apprise", "loudspeaker", "mqtt",
    }  # fmt: skip
    assert settings.shop_pages.url


@pytest.mark.parametrize(
    ("kind", "street", "expected"),
    [("task", "xiaohe", "c"), ("task", "other", "b"), ("alert", "other", "a"), ("alert", "xiaohe", "d")],
)
def test_the_route_that_fits_best(kind, street, expected):
    routes = [
        {"audience": "room", "channels": ["a"]},
        {"audience": "room", "kinds": ["task"], "channels": ["b"]},
        {"audience": "room", "kinds": ["task"], "streets": ["xiaohe"], "channels": ["c"]},
        {"audience": "room", "streets": ["xiaohe"], "channels": ["d"]},
    ]
    channels = [{"id": name, "type": "wecom", "webhook": "file:x"} for name in "abcd"]
    found = NoticesSection.model_validate({"channel": channels, "route": routes}).chain("room", kind, street)
    assert found.channels == (expected,)


def test_the_commands(tmp_path, service):
    service.say(Say({"code": 0}), Say({"code": 3, "why": "key t0p-secret is bad"}))
    (tmp_path / "secret").write_text("t0p-secret")
    path = tmp_path / "center.toml"
    path.write_text(
        HEAD.replace('id = "demo"', 'id = "demo"\nname = "小河街道"')
        + f"""
[notices]
contact = "0571-1234"
[[notices.channel]]
id = "sms"
type = "http"
url = "{service.url}/?k={{secret.k}}"
body = '{{"to": "{{to}}", "text": "{{body}}"}}'
secrets = {{ k = "file:secret" }}
success = {{ path = "code", equals = ["0"] }}
text_path = "why"
[[notices.channel]]
id = "lost"
type = "wecom"
webhook = "file:nowhere"
[[notices.route]]
audience = "shop"
channels = ["sms"]
"""
    )

    def notices(*words):
        return run(COLLECTOR, "notices", *words, "--settings", path)

    shown = notices("preview", "shop_notice", "--shop", "张记")
    assert shown.returncode == 0, shown.stderr
    assert "张记门前" in shown.stdout
    assert "2 条 SMS" in shown.stdout or "1 条 SMS" in shown.stdout
    tried = notices("test", "sms", "--to", "13800001234")
    assert (tried.returncode, tried.stdout) == (0, "accepted 0\n")
    bad = notices("test", "sms", "--to", "13800001234")
    assert (bad.returncode, bad.stdout) == (1, "refused 3 key *** is bad\n")
    assert "【任务】" in notices("preview", "task").stdout
    for words, expected in (
        (("test", "none"), "channel: expected one of the settings (sms, lost)"),
        (("test", "sms"), "--to: expected a telephone number for channel sms, got ''"),
        (("test", "sms", "--to", "abc"), "--to: expected a telephone number for channel sms, got 'abc'"),
        (("test", "sms", "--to", "138", "--kind", "x"), "--to: expected a telephone number"),
        (("test", "sms", "--to", "13800001234", "--kind", "x"), "kind: expected one of shop_notice"),
        (("test", "lost"), "file:nowhere"),
        (("preview", "x"), "kind: expected one of shop_notice"),
        (("preview", "task", "--audience", "shop"), "audience: task goes to community, officer"),
        (("preview", "task", "--audience", "y"), "audience: expected one of shop"),
        (("decide", "1", "told", "--reason", "x"), "expected a notice"),
    ):
        refused = notices(*words)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert expected in refused.stderr
    assert len(service.got) == 2, "nothing was sent that could not be meant"
    listed = notices("list")
    assert (listed.returncode, listed.stdout) == (0, "")
    channels = notices("channels")
    assert channels.returncode == 1
    assert "lost wecom needs none; secrets file:nowhere: expected a file" in channels.stdout
    assert "FAIL  notices: file:nowhere" in run(COLLECTOR, "check", "--settings", path).stdout


@pytest.fixture
def center(tmp_path, service):
    """Settings of a center that sends officers' notices over the service, with one notice ordered."""
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    desk.take(Case(shop="shop-1").opened())
    with desk.store.writing() as session:
        # of no ticket: what is of one, the desk itself orders and takes back
        wanted = NoticeOrder("k", None, "task", "officer", "13900001111", "s", None, 1, 0)
        order(session, wanted, now_ms=round(time.time() * 1000))
    desk.store.close()
    port, shop_port = free_port(), free_port()
    with Broker("iotcore", tmp_path / "broker") as broker:
        path = tmp_path / "center.toml"
        path.write_text(
            f"""
version = 1
[center]
id = "demo"
listen = "127.0.0.1:{port}"
[broker]
url = "{broker.url}"
[shop_pages]
listen = "127.0.0.1:{shop_port}"
url = "http://127.0.0.1:{shop_port}"
[[notices.channel]]
id = "sms"
type = "http"
url = "{service.url}/"
body = '{{"to": "{{to}}", "text": "{{body}}"}}'
[[notices.route]]
audience = "officer"
channels = ["sms"]
"""
        )
        yield path, port, shop_port


def test_serve_sends_and_shows(center, service, tmp_path):
    """The real program: a notice that is ordered goes out, and the shops' listener is there."""
    path, port, shop_port = center
    service.say(Say({"code": 0}))
    with Process([COLLECTOR, "serve", "--settings", path], tmp_path / "log", port) as served:
        wait_for(lambda: service.got, "it is sent")
        assert service.got[0].json["to"] == "13900001111"
        wait_for(lambda: answers(shop_port), "the shops' pages are there")
        with urllib.request.urlopen(f"http://127.0.0.1:{shop_port}/robots.txt") as page:
            assert b"Disallow" in page.read()
        served.send(signal.SIGTERM)
        assert served.process.wait(15) == 0
        assert "Traceback" not in served.text()
    with socket.create_server(("127.0.0.1", shop_port)):
        pass  # it is given back


def test_a_collector_killed_before_the_answer_sends_nothing_again(center, service, tmp_path):
    """SIGKILL while the gateway thinks; the next one finds it, says that nobody knows, and leaves it to a person."""
    path, port, _ = center
    service.say(Say(how="hang", wait_s=3), Say({"code": 0}))
    with Process([COLLECTOR, "serve", "--settings", path], tmp_path / "log", port) as served:
        wait_for(lambda: service.got, "the request is there")
        served.kill()
    with Process([COLLECTOR, "serve", "--settings", path], tmp_path / "log", port) as served:
        wait_for(lambda: "unsure" in listed(path), "it is said")
        time.sleep(2)
        served.stop()
    assert len(service.got) == 1
    assert "unsure: interrupted the collector ended while it was being sent" in listed(path)
    decided = run(COLLECTOR, "notices", "decide", "1", "told", "--reason", "电话确认", "--settings", path)
    assert decided.stdout == "notice 1: sent\n", decided.stderr


def listed(path):
    return run(COLLECTOR, "notices", "list", "--settings", path).stdout


@pytest.mark.parametrize(
    ("routes", "nobody", "partly"),
    [
        ([], "shop community officer operator room", ""),
        ([{"audience": "shop"}, {"audience": "operator", "kinds": ["alert"]}], "community officer room", "operator"),
        ([{"audience": "room", "streets": ["s"]}, {"audience": "room"}], "shop community officer operator", ""),
    ],
)
def test_check_names_who_is_told_nothing(service, routes, nobody, partly):
    routes = [{"channels": ["sms"], **one} for one in routes]
    found = NoticesSection.model_validate({"channel": [sms(service)], "route": routes})
    assert found.untold() == (nobody.split(), partly.split())
