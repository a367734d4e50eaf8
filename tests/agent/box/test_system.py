"""Updates as root does them: the real RAUC writes loop devices; the ESP is a folder, systemd-boot the model of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent.box.bootslot import ENTRIES, Loader, Volume
from deploy.image.update import bundle
from tests.agent.box.test_bootslot import content, lay_out, root_of, start
from tests.services import ROOT, wait_for

VERB = """
import sys; from pathlib import Path; from agent.box.system import Places, main
at = Path(sys.argv[1]); names = "agent own run image cmdline boot_id bootslot".split()
sys.exit(main(sys.argv[2:], Places(**{name: at / name for name in names})))
"""
BOOTSLOT = """#!/bin/sh
[ "$1" = kernel ] && [ -e {at}/cut ] && { echo >{at}/written; exec sleep 60; }
exec {python} -m agent.box.bootslot --esp {at}/esp "$@"
"""
CONF = """[system]
compatible=cityeye-amd64
bootloader=custom
statusfile={at}/rauc.status
mountprefix={at}/mnt
[keyring]
path={keys}/ca.pem
[handlers]
bootloader-custom-backend={at}/bootslot
[slot.rootfs.0]
device={a}
type=raw
bootname=a
[slot.rootfs.1]
device={b}
type=raw
bootname=b
"""
# as Debian's, whose RAUC obeys everybody; then what the image puts in
BUS = f"""<busconfig><type>system</type><listen>unix:abstract={{at}}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*"/><allow send_type="signal"/><allow receive_type="method_call"/><allow user="*"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/><allow own="*"/>
</policy><include>{ROOT}/deploy/image/root/etc/dbus-1/system.d/cityeye-rauc.conf</include></busconfig>"""
SLOT_BYTES = 256 << 10
SHA = "ab" * 32


class Box:
    """A box in a folder, root's verbs on it, and what systemd and systemd-boot do around them."""

    def __init__(self, at):
        self.at = at
        for name in ("agent", "own", "run"):
            (at / name).mkdir()
        (at / "image").write_text("VERSION=0.1.0\nCOMPATIBLE=cityeye-amd64\n")
        self.esp = lay_out(at / "esp", {})
        loader = Loader(Volume(self.esp))
        loader.put_kernel("a", root_of(at, 1))
        loader.set_good("a")
        self._script("bootslot", BOOTSLOT.replace("{at}", str(at)).replace("{python}", sys.executable))
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{at}:{os.environ['PATH']}"}
        self.env |= {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:abstract={at}", "CITYEYE_BOOTSLOT": f"{at}/bootslot"}
        self.starts = 0
        self.service = None
        self.start()

    def _script(self, name, text):
        (self.at / name).write_text(text)
        (self.at / name).chmod(0o755)

    def start(self):
        """Firmware, systemd-boot, kernel."""
        shutil.rmtree(self.at / "run")
        (self.at / "run").mkdir()
        slot, left, files = start(content(self.esp))
        lay_out(self.esp, files)
        self.slot, self.starts = slot, self.starts + 1
        (self.at / "cmdline").write_text(f"quiet rauc.slot={slot}{' cityeye.trial' if left >= 0 else ''}\n")
        (self.at / "boot_id").write_text(f"boot-{self.starts}\n")
        if self.service is not None:
            self.serve()

    def serve(self):
        """Begin RAUC's service as it is in this start."""
        self.stop()
        rauc = ["/usr/bin/rauc", f"--conf={self.at}/conf", f"--override-boot-slot={self.slot}", "service"]
        command = ["unshare", "-m", *rauc]
        with (self.at / "rauc.log").open("ab") as log:
            self.service = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: self.call().returncode == 0, "RAUC's service", 20)

    def call(self, *before):
        """Ask RAUC for its state, over the bus."""
        asked = ["org.freedesktop.DBus.Properties.Get", "string:de.pengutronix.rauc.Installer", "string:Operation"]
        command = ["dbus-send", f"--bus=unix:abstract={self.at}", "--print-reply", "--dest=de.pengutronix.rauc", "/"]
        return subprocess.run([*before, *command, *asked], capture_output=True, text=True, check=False)

    def stop(self):
        if self.service:
            os.killpg(self.service.pid, signal.SIGKILL)
            self.service.wait()

    def command(self, verb):
        return [sys.executable, "-c", VERB, self.at, verb]

    def do(self, verb):
        return subprocess.run(self.command(verb), env=self.env, capture_output=True, text=True, check=False, timeout=60)

    def want(self, path=None, rollout=1, version="0.2.0"):
        """What the agent does."""
        sha256 = SHA
        if path is not None:
            shutil.copy(path, self.at / "agent/bundle.raucb")
            sha256 = subprocess.check_output(["sha256sum", path], text=True).split()[0]
        wanted = {"rollout": rollout, "version": version, "sha256": sha256, "live": ["gate"]}
        (self.at / "agent/wanted.json").write_text(json.dumps(wanted))

    def ask(self, *arguments, **named):
        """What the agent does, and root then."""
        self.want(*arguments, **named)
        return self.do("install")

    def heal(self, boot_id=None):
        (self.at / "agent/healthy").write_text(boot_id or (self.at / "boot_id").read_text())
        return self.do("confirm").returncode

    @property
    def said(self):
        return json.loads((self.at / "run/system.json").read_text())

    @property
    def last(self):
        return {name: self.said["last"][name] for name in ("rollout", "state", "slot")}

    def tried(self, **other):
        """As it stands when a bundle was installed and started, without RAUC."""
        last = {"rollout": 1, "version": "0.2.0", "sha256": SHA, "slot": "b", "state": "trial"} | other
        (self.at / "own/last.json").write_text(json.dumps({"last": last, "failed": {}}))
        loader = Loader(Volume(self.esp))
        loader.put_kernel("b", root_of(self.at, 2))
        loader.set_primary("b")
        self.start()
        return self.do("boot")


@pytest.fixture
def tmp_path():
    # in memory: each of the many syncs waits for the disk otherwise
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_a_trial_is_kept_when_this_very_start_is_healthy(box, tmp_path):
    (tmp_path / "rauc").write_text(f'#!/bin/sh\nexec {tmp_path}/bootslot set-state b good # "$@"\n')
    (tmp_path / "rauc").chmod(0o755)
    box.tried()
    assert box.said["trial"]
    assert (box.heal("boot-1"), box.said["trial"]) == (0, True)
    assert not (tmp_path / "agent/healthy").exists()
    assert box.ask().returncode == 1  # waits for its turn
    assert (tmp_path / "agent/wanted.json").exists()
    assert (box.heal(), box.said["trial"]) == (0, False)
    assert box.last == {"rollout": 1, "state": "taken", "slot": "b"}
    box.start()
    box.do("boot")
    assert (box.slot, box.last["state"], box.said["trial"]) == ("b", "taken", False)
    assert box.do("install").returncode == 1  # the same again: nothing to do
    assert box.last["state"] == "taken"


def test_a_cut_while_it_is_confirmed_is_made_good(box, tmp_path):
    box.tried()
    Loader(Volume(box.esp)).set_good("b")  # and then the power is cut
    box.start()
    assert box.do("boot").returncode == 0
    assert (box.slot, box.last["state"], box.said["trial"]) == ("b", "taken", False)


def test_three_starts_that_are_not_healthy_end_on_the_slot_before(box):
    box.tried()
    box.start()
    box.do("boot")
    box.start()
    assert box.slot == "b"
    box.start()
    assert box.slot == "a"
    box.do("boot")
    assert box.last["state"] == "rolled_back"
    assert "started 3 times, 2 as far" in box.said["last"]["text"]
    assert not list((box.esp / ENTRIES).glob("cityeye-b*"))
    # the same roll-out does not do it again, nor after others; another roll-out may
    assert box.ask().returncode == 1
    assert box.last["state"] == "rolled_back"
    box.ask(rollout=2)
    assert "expected bundle.raucb" in box.said["last"]["text"]
    box.ask()
    assert "a new roll-out tries it again" in box.said["last"]["text"]


def test_a_trial_that_is_not_healthy_in_time_goes_back(box):
    box.tried()
    assert box.do("deadline").returncode == 0
    box.start()
    box.do("boot")
    assert (box.slot, box.last["state"]) == ("a", "rolled_back")
    assert "healthy in time" in box.said["last"]["text"]
    assert box.do("deadline").returncode == 0
    assert box.esp.joinpath(ENTRIES, "cityeye-a.conf").exists()


def test_a_cut_before_the_trial_was_noted_is_a_trial_nevertheless(box):
    box.tried(state="installing")
    assert box.last["state"] == "trial"
    for _ in range(3):
        box.start()
    assert box.slot == "a"
    (box.at / "own/last.json").write_text((box.at / "own/last.json").read_text().replace('"trial"', '"installing"'))
    (box.at / "own/last.json.copy").unlink()
    box.do("boot")
    assert box.last["state"] == "rolled_back"


def secret(at):
    (at / "secret").write_text("root's own")
    return at / "secret"


def big(at):
    (at / "agent/wanted.json").write_bytes(b"[" * 100_000)


TRICKS = {
    "a link": lambda at: (at / "agent/wanted.json").symlink_to(secret(at)),
    "a pipe": lambda at: os.mkfifo(at / "agent/wanted.json"),
    "no JSON": lambda at: (at / "agent/wanted.json").write_text("root's own"),
    "deep": big,
    "a folder that is a link": lambda at: (
        (at / "agent").rename(at / "own/x"),
        (at / "agent").symlink_to(at / "own/x"),
    ),
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_nothing_in_the_agents_folder_is_believed(box, trick):
    trick(box.at)
    done = box.do("install")
    assert done.returncode == 1
    assert "root's own" not in done.stderr
    assert "Traceback" not in done.stderr
    assert (box.at / "agent").is_symlink() or not os.path.lexists(box.at / "agent/wanted.json")


def swap_link(at):
    (at / "agent/bundle.raucb").unlink()
    (at / "agent/bundle.raucb").symlink_to(secret(at))


def second_name(at):
    (at / "kept").hardlink_to(at / "agent/bundle.raucb")


BUNDLES = {
    "a link": (swap_link, "not a link or a folder"),
    "a second name": (second_name, "a file with one name"),
    "another file": (lambda at: (at / "agent/bundle.raucb").write_text("other"), "expected SHA-256"),
    "none": (lambda at: (at / "agent/bundle.raucb").unlink(), "expected bundle.raucb"),
}


@pytest.mark.parametrize(("trick", "text"), BUNDLES.values(), ids=BUNDLES)
def test_a_bundle_is_the_one_that_was_asked_for(box, tmp_path, trick, text):
    path = tmp_path / "any"
    path.write_text("content")
    box.env["PATH"] = "/nowhere"
    box.want(path)
    trick(tmp_path)
    assert box.do("install").returncode == 1
    assert text in box.said["last"]["text"]
    assert box.last["state"] == "refused"
    assert not list(tmp_path.glob("own/bundle*")) + list(tmp_path.glob("agent/wanted*"))


def test_a_folder_in_roots_place_of_a_bundle_is_in_nobodys_way(box, tmp_path):
    """The agent has put it there between root's look and its rename."""
    path = tmp_path / "any"
    path.write_text("content")
    box.env["PATH"] = "/nowhere"
    for there in (None, path):
        (tmp_path / "own/bundle.raucb/deep").mkdir(parents=True)
        (tmp_path / "own/bundle.raucb/deep/link").symlink_to(secret(tmp_path))
        box.want(there)
        box.do("install")
        assert box.last["state"] == "refused"
        assert not (tmp_path / "own/bundle.raucb").exists()
    assert (tmp_path / "secret").read_text() == "root's own"


# with the real RAUC


def loop(path):
    return subprocess.check_output(["losetup", "-f", "--show", path], text=True).strip()


@pytest.fixture
def rauc(box, tmp_path):
    for tool in ("rauc", "losetup", "dbus-daemon", "mksquashfs"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")
    for slot in "ab":
        with (tmp_path / slot).open("wb") as file:
            file.truncate(SLOT_BYTES)
    devices = {slot: loop(tmp_path / slot) for slot in "ab"}
    keys = [ROOT / "deploy/image/keys", tmp_path / "keys"], [ROOT / "deploy/image/keys", tmp_path / "foreign"]
    for make in [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in keys]:
        assert "TEST KEYS" in make.communicate(timeout=60)[1]
    (tmp_path / "conf").write_text(CONF.format(at=tmp_path, keys=tmp_path / "keys", **devices))
    (tmp_path / "bus.conf").write_text(BUS.format(at=tmp_path))
    box._script("rauc", f'#!/bin/sh\nexec /usr/bin/rauc --conf={tmp_path}/conf "$@"\n')
    bus = subprocess.Popen(["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork"])
    try:
        box.serve()
        yield box
    finally:
        box.stop()
        bus.kill()
        bus.wait()
        subprocess.run(["losetup", "-d", *devices.values()], check=True)


def make(at, name="good", generation=2, keys="keys", compatible="cityeye-amd64", version="0.2.0"):
    root = root_of(at, generation)
    if name == "large":
        (root / "much").write_bytes(os.urandom(SLOT_BYTES))
    subprocess.run(["mksquashfs", root, at / f"{name}.img", "-noappend", "-quiet", "-no-progress"], check=True)
    target = at / f"{name}.raucb"
    # this host's kernel has no device mapper
    bundle(at / f"{name}.img", target, compatible=compatible, version=version, keys=at / keys, form="plain")
    return target


def altered(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    target = path.with_name(f"altered{at}")
    target.write_bytes(data)
    return target


def test_updates_by_rauc(rauc, tmp_path):
    """One box's life: what is not right is refused and changes nothing, what is good is installed, tried, kept."""
    box, good = rauc, make(tmp_path)
    refused = box.call("setpriv", "--reuid=65534", "--clear-groups")
    assert "AccessDenied" in refused.stderr
    before = content(box.esp)
    cut = tmp_path / "short"
    cut.write_bytes(good.read_bytes()[:-100])
    refused = {
        "content": (altered(good, 700), "0.2.0", "its content is not what was signed"),
        "signature": (altered(good, -900), "0.2.0", "altered"),
        "short": (cut, "0.2.0", "altered or cut short"),
        "foreign": (make(tmp_path, "foreign", keys="foreign"), "0.2.0", "signed by somebody else"),
        "board": (make(tmp_path, "board", compatible="cityeye-arm64"), "0.2.0", "made for another board"),
        "version": (good, "0.3.0", "expected version 0.3.0, the bundle is 0.2.0"),
        "room": (make(tmp_path, "large"), "0.2.0", "no room for it"),
    }
    for name, (path, version, text) in refused.items():
        assert box.ask(path, version=version).returncode == 1, name
        assert box.last == {"rollout": 1, "state": "refused", "slot": "b"}
        assert text in box.said["last"]["text"]
        assert content(box.esp) == before, name
    # the power is cut when the root is written and its kernel is not; twice
    (tmp_path / "cut").touch()
    box.want(good)
    for _ in range(2):
        (tmp_path / "written").unlink(missing_ok=True)
        with subprocess.Popen(box.command("install"), env=box.env, stderr=subprocess.DEVNULL) as install:
            wait_for((tmp_path / "written").exists, "the root is written", 30)
            install.kill()
        box.start()
        box.do("boot")
        assert (box.slot, box.last["state"]) == ("a", "installing")
    # RAUC alone dies
    (tmp_path / "written").unlink()
    with subprocess.Popen(box.command("install"), env=box.env, stderr=subprocess.DEVNULL) as install:
        wait_for((tmp_path / "written").exists, "the root is written", 30)
        box.stop()
        assert install.wait(60) == 1
    assert "RAUC broke off" in box.said["last"]["text"]
    (tmp_path / "cut").unlink()
    box.serve()
    # it is asked for again, installed, tried and kept
    assert box.ask(good).returncode == 0
    assert (box.last["state"], box.said["last"]["live"]) == ("trial", ["gate"])
    assert (tmp_path / "b").read_bytes().startswith((tmp_path / "good.img").read_bytes())
    assert not list(tmp_path.glob("*/bundle.raucb")) + list(tmp_path.glob("agent/wanted.json"))
    box.start()
    box.do("boot")
    assert (box.slot, box.said["trial"]) == ("b", True)
    assert box.heal() == 0
    assert (box.last["state"], box.said["trial"]) == ("taken", False)
    # the next one never gets up
    assert box.ask(make(tmp_path, "broken", 3, version="0.3.0"), 2, "0.3.0").returncode == 0
    for slot in "aaab":
        box.start()
        assert box.slot == slot
    box.do("boot")
    assert box.last == {"rollout": 2, "state": "rolled_back", "slot": "a"}
    # nothing of that is in the way of one that does, an older one too
    assert box.ask(make(tmp_path, "older", 4, version="0.0.9"), 3, "0.0.9").returncode == 0
    box.start()
    assert (box.slot, box.heal(), box.last["state"]) == ("a", 0, "taken")
