"""What the box makes of its card: keyfiles that NetworkManager takes, files for the agent, screen and light."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.box import blink, console
from agent.box.blink import Light
from agent.box.card import apply
from agent.box.console import Screen, picture, screens
from agent.box.standing import Board, Sight, Standing
from agent.settings import load_settings
from tests.protocol.test_card_reader import CODE, LABEL, WHOLE

STATIC = '[network]\naddress = "10.1.2.3/24"\ngateway = "10.1.2.1"\ndns = ["10.1.2.1"]\nmtu = 1400\n'


def applied(folder, text, name="cityeye.toml"):
    (folder / "boot").mkdir(exist_ok=True)
    (folder / "boot" / name).write_text(text, "utf-8")
    return apply(folder / "boot", folder / "run")


def left(folder):
    return {str(path.relative_to(folder / "run")) for path in (folder / "run").rglob("*") if not path.is_dir()}


def test_a_whole_card_is_carried_out_and_the_next_one_leaves_nothing_of_it(tmp_path):
    assert not applied(tmp_path, WHOLE.replace("Shanghai", "Urumqi"))
    run = tmp_path / "run"
    connections = {
        f"NetworkManager/system-connections/cityeye-{one}.nmconnection"
        for one in ("any", "cable", "vlan", "wifi", "modem")
    }
    own = {f"cityeye/{one}" for one in ("card.json", "claim.json", "country", "localtime", "ssh/authorized_keys")}
    assert left(tmp_path) == connections | own | {"systemd/timesyncd.conf.d/cityeye.conf"}
    assert all((run / one).stat().st_mode & 0o777 == 0o600 for one in connections)
    assert (run / "cityeye/claim.json").stat().st_mode & 0o777 == 0o640
    assert json.loads((run / "cityeye/claim.json").read_text()) == {"label": LABEL}
    said = (run / "cityeye/card.json").read_text()
    assert not [secret for secret in (CODE, "12345678", '"1234"') if secret in said]
    assert (run / "cityeye/localtime").readlink().name == "Urumqi"
    box = tmp_path / "box.toml"
    box.write_text(f'version = 1\n[box]\nid = "b"\nsite = "s"\n[setup]\nrun_dir = "{run}/cityeye"\n')
    assert load_settings(box).settings.box.timezone == "Asia/Urumqi"
    applied(tmp_path, "")
    assert left(tmp_path) == {"cityeye/card.json", "cityeye/localtime", min(connections)}


def test_what_is_wrong_is_left_out_and_told_and_dhcp_stays(tmp_path):
    (fault,) = applied(
        tmp_path, STATIC.replace("1400", "14000") + '[time]\nservers = ["ntp.example"]', "cityeye.toml.txt"
    )
    assert left(tmp_path) == {
        "NetworkManager/system-connections/cityeye-any.nmconnection",
        "systemd/timesyncd.conf.d/cityeye.conf",
        "cityeye/card.json",
        "cityeye/localtime",
    }
    card = json.loads((tmp_path / "run/cityeye/card.json").read_text())
    assert card["faults"] == [{"zh": fault.text("zh"), "en": fault.text("en")}]
    (tmp_path / "boot/cityeye.toml.txt").rename(tmp_path / "boot/README.txt")
    assert apply(tmp_path / "boot", tmp_path / "run") == (), "no card is no fault"
    assert not json.loads((tmp_path / "run/cityeye/card.json").read_text())["present"]
    (tmp_path / "boot/README.txt").unlink()
    assert "flash it" in apply(tmp_path / "boot", tmp_path / "run")[0].text("en"), "no partition is one"


@pytest.mark.skipif(shutil.which("nmcli") is None, reason="needs nmcli")
def test_network_manager_reads_back_what_the_card_said(tmp_path):
    name, password, user = " 街;\\n#", " ab\\c;d=e#f ", " a\\b;"
    text = WHOLE.replace('"咖啡（二楼）"', json.dumps(name, ensure_ascii=False)).replace(
        '"12345678"', json.dumps(password)
    )
    assert not applied(tmp_path, text.replace('pin = "1234"', f"user = {json.dumps(user)}"))
    read = {}
    for path in (tmp_path / "run").rglob("*.nmconnection"):
        command = ["nmcli", "--offline", "connection", "modify", "connection.autoconnect", "yes"]
        asked = {"input": path.read_text("utf-8"), "capture_output": True, "text": True}
        done = subprocess.run(command, check=True, timeout=30, **asked)
        assert not done.stderr
        read |= {line.partition("=")[::2] for line in done.stdout.splitlines()}
    assert bytes(map(int, read["ssid"].strip(";").split(";"))).decode() == name
    assert read["psk"].replace("\\\\", "\\").replace("\\s", " ") == password
    assert read["username"].replace("\\\\", "\\").replace("\\s", " ") == user
    assert (read["address1"], read["flags"], read["mtu"]) == ("10.1.2.3/24,10.1.2.1", "1", "1500")


SPACE = """
mount --make-rprivate / && mount -t proc proc /proc && mount -t sysfs -o ro sysfs /sys || exit 9
mount -t tmpfs tmpfs /run && mkdir /run/dbus && cp -a "$0"/* /run/ || exit 9
mount -t tmpfs tmpfs /var/lib/NetworkManager || exit 9
ip link set lo up && ip link add eth0 type veth peer name far0 && ip link set far0 up || exit 9
dbus-daemon --system --fork || exit 9
printf '[main]\\nno-auto-default=*\\n[keyfile]\\nunmanaged-devices=interface-name:far0\\n' > /run/nm.conf
NetworkManager --debug --config=/run/nm.conf 2> /run/log &
for n in $(seq 80); do
    sleep 0.25
    ip -4 -br addr show eth0 | grep -qE "$1" && ip route && exit 0
done
cat /run/log; exit 1
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("NetworkManager"), reason="needs root and NetworkManager")
@pytest.mark.parametrize(
    ("text", "pattern"),
    [(STATIC, r"169\.254\..* 10\.1\.2\.3/24|10\.1\.2\.3/24 169\.254"), ("", r"169\.254\.")],
    ids=["static", "dhcp-without-a-server"],
)
def test_a_box_can_be_reached_by_link_local_whatever_the_card_says(tmp_path, text, pattern):
    applied(tmp_path, text)
    command = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "sh", "-c", SPACE, tmp_path / "run", pattern]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 9:
        pytest.skip("no namespaces here")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not text or "default via 10.1.2.1 dev eth0" in done.stdout


EN = "line {}, [network] gateway: expected the gateway within the box's network: 10.1.2.1, got 10.9.9.1; compare all"
ZH = "第 {} 行 [network] gateway：应为：与本机同一网段的网关，例如 10.1.2.1；现为：10.9.9.1。请核对前缀长度和 gateway"


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_all_addresses_of_an_interface_are_known_link_local_last():
    steps = (
        "ip link add e0 type veth peer name e1 && ip addr add 169.254.7.8/16 dev e0 && ip addr add 10.1.2.3/24 dev e0"
    )
    command = ["unshare", "-n", "sh", "-c", f'{steps} && ip link set e0 up && "$0" -c "$1"', sys.executable]
    script = "import agent.box.network as n; print(*(f'{a.interface} {a.address}/{a.prefix}' for a in n.addresses()))"
    done = subprocess.run([*command, script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "e0 10.1.2.3/24 e0 169.254.7.8/16\n"


FAULTS = [{"zh": ZH.format(n), "en": EN.format(n)} for n in range(1, 9)]
UP = ("10.1.2.3/24 eth0",)
LIVE = Standing("xiaohe-0001", "xiaohe", connected=True, cameras={"cam-1": "live", "cam-2": "lost"})


@pytest.mark.parametrize(
    ("card", "standing", "addresses", "code"),
    [
        ({}, LIVE, UP, 0),
        ({"faults": FAULTS}, Standing(claim="refused", connected=False), (), 1),
        ({}, LIVE, ("169.254.1.2/16 eth0",), 2),
        ({}, Standing("b", connected=False), UP, 3),
        ({}, Standing(claim="silent"), UP, 3),
        ({}, Standing(claim="refused"), UP, 4),
        ({}, Standing("b", connected=True, cameras={"cam-1": "lost"}), UP, 5),
        ({}, Standing("b", connected=True), UP, 0),
        ({}, Standing(claim="trying"), UP, 0),
        ({}, None, UP, 0),
    ],
)
def test_the_light_tells_what_is_to_be_mended_first(card, standing, addresses, code):
    sight = Sight(card, standing, addresses)
    assert sight.trouble == code
    for chinese in (False, True):
        lines = picture(sight, chinese=chinese).split("\r\n")
        assert len(lines) <= 24
        assert max(console._columns(line) for line in lines) <= 79
        assert code == 0 or f"blinks {code} x" in "".join(lines)


def test_the_console_is_drawn_anew_when_something_changes_and_the_light_blinks_its_code(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.box.standing.addresses", list)
    monkeypatch.setattr("agent.box.standing.gateway", lambda: "10.1.2.1")
    run, leds, (keyboard, screen) = tmp_path / "run", tmp_path / "leds", os.openpty()
    for name in ("mmc0::", "ACT", "input3::scrolllock"):
        (leds / name).mkdir(parents=True)
        (leds / name / "trigger").write_text("none [mmc0] timer\n")
        (leds / name / "brightness").write_text("0")
    (run / "agent").mkdir(parents=True)
    board, told, rounds = Board(run), [], iter([LIVE, LIVE, Standing("b", connected=False), LIVE])

    def sleep(seconds):
        told.append((seconds, (leds / "ACT/trigger").read_text()[:4], (leds / "ACT/brightness").read_text()[:1]))

    def going_on():
        standing = next(rounds, None)
        board.post(standing or LIVE)
        return standing is not None

    places = [Screen(Path(os.ttyname(screen)), True), Screen(tmp_path / "none", False)]
    console.show(run, places, Light(leds / "ACT", sleep), going_on)
    drawn = os.read(keyboard, 65_536).decode()
    assert drawn.count(console.CLEAR) == 3, "four rounds, three sights"
    assert ["connected" in one for one in drawn.split(console.CLEAR)[1:]] == [True, False, True]
    assert "blinks 3 x: the center is not reached / 闪 3 次：连不上中心" in drawn
    for one in (keyboard, screen):
        os.close(one)
    blinks = [(0.25, "none", "1"), (0.25, "none", "0")] * 3
    assert told[2:8] == blinks
    assert told[8][0] == blink.PAUSE_S
    assert (leds / "ACT/trigger").read_text() == "mmc0", "the kernel's own use comes back"
    assert Light.find(leds)._folder.name == "ACT"
    shutil.rmtree(leds / "ACT")
    assert Light.find(leds)._folder.name == "input3::scrolllock"
    Light.find(tmp_path / "nothing").rest()


def test_serial_consoles_of_the_kernel_are_written_to_and_its_own_screen_once(tmp_path):
    (tmp_path / "active").write_text("tty0 ttyS0 ttyAMA0\n")
    assert [one.path.name for one in screens(tmp_path / "active")] == ["tty1", "ttyS0", "ttyAMA0"]
