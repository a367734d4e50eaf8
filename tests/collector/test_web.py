"""Pages, API and live feed, in a real browser where it matters."""

import json
import re
import socket
from zoneinfo import ZoneInfo

import httpx2 as httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from collector.evidence.jpeg import size_of
from collector.figures import Figures
from collector.notices.service import open_notices
from collector.notices.settings import NoticesSection, ShopPagesSection
from collector.tickets.timekeeper import Tally
from collector.web.app import Health
from tests import incidents
from tests.collector.test_inbox import publish
from tests.incidents import START_S, Case
from tests.people import at_the_center
from tests.services import BIN, Broker, Process, free_port, run, wait_for

COLLECTOR = BIN / "cityeye-collector"


@pytest.fixture
def client(desk):
    with at_the_center(desk, Health(lambda: True, lambda: False), banner="<b>演示</b>") as client:
        yield client


def fill(desk):
    case = Case()
    desk.take(incidents.status(), case.picture("clear"), case.picture("at", "close", 1), case.opened())
    return case


def test_an_empty_center_says_so(client):
    page = client.get("/tickets")
    assert page.status_code == 200
    assert "还没有工单" in page.text
    assert "No tickets yet" in client.get("/tickets?lang=en").text
    assert "&lt;b&gt;演示" in page.text


def test_the_list_and_the_ticket_show_what_is_stored(desk, client):
    case = fill(desk)
    page = client.get("/tickets").text
    assert "#1 店外经营" in page
    assert "shop-1" in page
    assert case.pictures[1][0].sha256 in page
    page = client.get("/tickets/1").text
    assert page.count("签名有效") == 2
    assert "待核实" in page
    assert '<rect class="place" x="64.0" y="45.0" width="16.0" height="18.0"/>' in page
    desk.take(case.picture("after", number=4), case.cleared(START_S + 60))
    page = client.get("/tickets/1").text
    assert "自行消失" in page
    assert "恢复后" in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", [2, 1]),
        ("?state=open", [2, 1]),
        ("?state=closed", []),
        ("?rule=encroachment", [2, 1]),
        ("?rule=crowding", []),
        ("?text=shop-2", [2]),
        ("?text=%231", [1]),
        ("?text=%25", []),  # no pattern of SQL
        ("?text=cam", [2, 1]),
        ("?before=2", [1]),
        ("?after=1", [2]),
    ],
)
def test_the_list_is_narrowed_by_what_is_asked_for(desk, client, asked, found):
    desk.take(incidents.status(), Case(shop="shop-1").opened(), Case(number=2, shop="shop-2").opened())
    page = client.get(f"/tickets{asked}").text
    assert [int(number) for number in re.findall(r'href="/tickets/(\d+)"', page)] == found


def test_a_picture_on_its_way_and_a_broken_seal_are_said(desk, client):
    case = Case()
    case.picture("at")
    record, content = case.pictures[0]
    case.pictures = [(record.model_copy(update={"taken_at": record.taken_at.replace(year=2020)}), content)]
    desk.take(incidents.status(), case.opened())
    page = client.get("/tickets/1").text
    assert "暂无图片" in page
    assert "签名不符" in page


def test_the_api_tells_the_same(desk, client):
    case = fill(desk)
    (ticket,) = client.get("/api/tickets").json()
    assert client.get("/api/tickets/1").json() == ticket
    assert ticket["key"] == "encroachment/shop/shop-1"
    assert ticket["opened_at"] == "2026-05-28T20:26:40.000Z"
    assert ticket["incidents"][0]["data"]["incident"] == case.id
    assert len(ticket["incidents"][0]["pictures"]) == 2
    assert client.get("/api/tickets?open=false").json() == []
    assert len(client.get("/api/tickets?open=true").json()) == 1


def test_pictures_are_served_by_their_hash_and_nothing_else(desk, client):
    case = fill(desk)
    record, content = case.pictures[0]
    answer = client.get(f"/evidence/{record.sha256}.jpg")
    assert (answer.content != content, size_of(answer.content)) == (True, size_of(content))
    assert answer.headers["content-type"] == "image/jpeg"
    for name in ("0" * 64, "../center", "%2e%2e%2fcenter", record.sha256.upper(), "x"):
        assert client.get(f"/evidence/{name}.jpg").status_code == 404
    desk.files.path(record.sha256).unlink()
    assert client.get(f"/evidence/{record.sha256}.jpg").status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/tickets/1", "/tickets/99", "/tickets/x", "/static/x/base.css", "/nothing", "/healthz"]
)
def test_every_answer_has_its_headers(desk, client, path):
    fill(desk)
    answer = client.get(path)
    assert answer.status_code < 500 or path == "/healthz"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_host_name_is_refused(client):
    """A page elsewhere that has its name point to this machine gets nothing."""
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_health_names_what_is_down(client):
    answer = client.get("/healthz")
    good = dict.fromkeys(("broker", "database", "desk", "notices"), True)
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "inbox": False, "lag_s": 0.0, **good})


@pytest.mark.parametrize("part", ["desk", "notices"])
def test_health_names_the_desk_and_the_notices(desk, part):
    health = Health(lambda: True, lambda: True, **{f"{part}_alive": lambda: False})
    with at_the_center(desk, health) as client:
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()[part], answer.json()["ok"]) == (503, False, False)
    assert all(up for name, up in answer.json().items() if name not in ("ok", "lag_s", part))


def test_figures_count_what_the_timekeeper_could_not_do(desk):
    registry = CollectorRegistry()
    tally = Tally(looks=5, steps=3, faults=2, jumps=1)
    registry.register(Figures(desk.store, lambda: (True, 0, 0.0), tally=lambda: tally))
    for name, count in vars(tally).items():
        assert registry.get_sample_value(f"cityeye_desk_{name}_total") == count


def test_a_missing_sender_or_listener_is_said(desk, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pages = ShopPagesSection(listen=f"127.0.0.1:{port}", url="https://shops.example")
        none = ShopPagesSection()
        rest = (tmp_path, desk.store, desk.files, "center", ZoneInfo("Asia/Shanghai"), lambda: None)
        alone, both = (open_notices(NoticesSection(), section, *rest) for section in (none, pages))
        assert not alone.alive
        with alone:
            assert alone.alive
        assert not alone.alive
        with both:
            wait_for(lambda: not both.listener.alive, "the listener to give up")
            assert (both.sender.alive, both.alive) == (True, False)


def settings(folder, broker="mqtt://127.0.0.1:1", listen=None, extra=""):
    path = folder / "center.toml"
    listen = listen or f"127.0.0.1:{free_port()}"
    path.write_text(
        f'version = 1\n[center]\nid = "demo"\nlisten = "{listen}"\n{extra}\n[broker]\nurl = "{broker}"\n', "utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda f: settings(f, listen="0.0.0.0:8080"), "expected a loopback address"),
        (lambda f: settings(f, listen="8080"), "expected HOST:PORT"),
        (lambda f: settings(f, extra='nam = "x"'), "unknown key 'nam'; the nearest known one is 'name'"),
        (lambda f: settings(f, extra='timezone = "Mars/Olympus"'), "expected a time zone"),
        (lambda f: settings(f, extra='database_url = "mysql://u:geheim-9@h/x"'), "expected sqlite:///PATH"),
        (lambda f: settings(f, broker="http://x"), "expected mqtt://HOST"),
        (lambda f: settings(f, broker="mqtt://u:geheim-9@x"), "no user and password"),
        (lambda f: f / "missing.toml", "expected a settings file, found none"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_bad_settings_get_one_line_and_exit_2(tmp_path, command, make, expected):
    done = run(COLLECTOR, command, "--settings", make(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr
    assert "geheim-9" not in done.stderr


def test_a_port_in_use_gets_one_line_and_exit_2(tmp_path, broker):
    path = settings(tmp_path, listen=f"127.0.0.1:{broker.port}")
    done = run(COLLECTOR, "serve", "--settings", path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"127.0.0.1:{broker.port}: expected a free port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_an_unwritable_data_folder_gets_one_line(tmp_path):
    (tmp_path / "data").write_text("a file")
    done = run(COLLECTOR, "serve", "--settings", settings(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "expected a folder that can be written" in done.stderr


def test_check_says_one_line_for_each_part(tmp_path, broker):
    done = run(COLLECTOR, "check", "--settings", settings(tmp_path, broker.url))
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 5
    assert "no route, and so never told: shop, community, officer, operator, room" in done.stdout
    done = run(COLLECTOR, "check", "--settings", settings(tmp_path))
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "ok", "FAIL", "ok", "ok"]


class Served:
    """A running collector and a client of its broker."""

    def __init__(self, folder, broker):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings(folder, broker.url, f"127.0.0.1:{self.port}")
        self.process = Process([COLLECTOR, "serve", "--settings", self.settings], folder / "log", self.port)
        self.box = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.box.connect("127.0.0.1", broker.port)
        self.box.loop_start()
        wait_for(lambda: self.get("/healthz").status_code == 200, "healthy")

    def get(self, path):
        return httpx.get(self.url + path)

    def send(self, *deliveries):
        for one in deliveries:
            publish(self.box, one)

    def close(self):
        self.box.disconnect()
        self.box.loop_stop()
        self.process.__exit__()


@pytest.fixture
def served(tmp_path):
    with Broker("iotcore", tmp_path / "broker") as broker:
        served = Served(tmp_path, broker)
        yield served
        served.close()


def test_check_is_content_with_a_center_that_runs(served, broker, tmp_path):
    done = run(COLLECTOR, "check", "--settings", served.settings)
    assert done.returncode == 0, done.stdout
    assert f"a center answers at 127.0.0.1:{served.port}" in done.stdout
    taken = run(COLLECTOR, "check", "--settings", settings(tmp_path, broker.url, f"127.0.0.1:{broker.port}"))
    assert "FAIL  pages" in taken.stdout


def test_the_feed_tells_of_a_change(served):
    with httpx.stream("GET", served.url + "/events", timeout=10) as feed:
        lines = feed.iter_lines()
        assert next(lines) == "retry: 2000"
        greeting = [next(lines) for _ in range(4)]
        assert greeting[2:] == ["event: changed", 'data: {"at":"0-0","tickets":[]}']
        served.send(Case().opened())
        told = next(line for line in lines if line.startswith("data:"))
        assert json.loads(told[5:])["tickets"] == [{"number": 1, "state": "pending_review", "open": True, "version": 1}]
