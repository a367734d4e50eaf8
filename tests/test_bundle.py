"""A bundle on this very machine: a layer over its root takes all that is written, and there is no network.

The full form is `make bundle-test`.
"""

import ensurepip
import importlib.util
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.services import ROOT, wait_for

BUNDLE = ROOT / "deploy" / "bundle"
ROLES = ("agent", "center")
SETTINGS = ("etc/cityeye/box.toml", "var/lib/cityeye/outbox.db", "etc/cityeye-center/center.toml")
SCRIPTS = sorted(path for room in ("bundle", "center") for path in (ROOT / "deploy" / room).glob("*.sh"))


def load_build():
    found = importlib.util.spec_from_file_location("bundle_build", BUNDLE / "build.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


build = load_build()


def said_by(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Machine:
    """This machine's root under a layer in memory, in namespaces of its own."""

    def __init__(self, mount):
        script = (
            f"mkdir -p {mount} && mount -t tmpfs tmpfs {mount} && cd {mount} && mkdir over work root && "
            f"mount -t overlay -o lowerdir=/,upperdir={mount}/over,workdir={mount}/work overlay root && "
            "mount --rbind /dev root/dev && mount -t proc proc root/proc && exec sleep 600"
        )
        self.process = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", script], stderr=subprocess.PIPE)
        self.mount = Path(mount)
        self.seen = Path(f"/proc/{self.process.pid}/root{mount}")
        ready = self.seen / "root/proc/self"
        wait_for(lambda: self.process.poll() is not None or ready.exists(), "the layer is there")

    def run(self, *command):
        enter = ["nsenter", "-t", str(self.process.pid), "-m", "-n", "chroot", self.mount / "root", *command]
        clean = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(enter, capture_output=True, text=True, check=False, timeout=100, env=clean)

    def install(self, bundle, *options):
        shutil.copy(bundle, self.seen / "root/srv/bundle.run")
        return self.run("sh", "/srv/bundle.run", *options)

    def written(self):
        """Files of the layer, relative to the root; what was taken away from below is a device."""
        over = self.seen / "over"
        return {path.relative_to(over).as_posix() for path in over.rglob("*") if path.is_file() or path.is_symlink()}


@pytest.fixture
def machine():
    if os.getuid() or not Path("/usr/bin/python3").exists() or not shutil.which("dpkg-deb"):
        pytest.skip("needs root on Debian, with its own Python")
    here = Machine("/mnt")
    if here.process.poll() is not None:
        pytest.skip(f"needs a mount namespace and overlayfs: {here.process.stderr.read().decode()}")
    yield here
    here.process.kill()
    here.process.wait()
    here.process.stderr.close()


def make(folder, version, roles=ROLES, debian=None, program="print"):
    """A small bundle: stubs for programs, the installer and units as they are."""
    inside = folder / f"{version}-{'-'.join(roles)}"
    inside.mkdir()
    build.take(inside, [*roles])
    pip = [*(Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"), *Path("/usr/share").glob("*/pip-*.whl")]
    if not pip:
        pytest.skip("needs pip's wheel")
    for name in ("pip", "wheels"):
        (inside / name).mkdir()
    shutil.copy(pip[0], inside / "pip")
    wheel = inside / f"wheels/cityeye-{version}-py3-none-any.whl"
    facts = f"cityeye-{version}.dist-info"
    points = "\n".join(f"cityeye-{name} = stub:main" for name in ("agent", "collector", "models"))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("stub.py", f"def main():\n    {program}('{version}')\n")
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: cityeye\nVersion: {version}\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/entry_points.txt", f"[console_scripts]\n{points}\n")
        archive.writestr(f"{facts}/RECORD", "")
    sha256 = build.digest(wheel.read_bytes())
    (inside / "requirements.txt").write_text(f"cityeye=={version} --hash=sha256:{sha256}\n")
    release = re.search(r'VERSION_ID="?(\d+)', Path("/etc/os-release").read_text())
    python = said_by("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    about = {"version": version, "roles": " ".join(roles), "debian": debian or release[1], "python": python}
    about |= {"arch": said_by("dpkg", "--print-architecture"), "packages": "python3"}
    target = folder / f"{inside.name}.run"
    build.pack(inside, about, target)
    return target


def test_a_bundle_that_is_cut_short_or_changed_touches_nothing(machine, tmp_path):
    whole = make(tmp_path, "1.0").read_bytes()
    head = whole.index(b"\n}\n") + 3
    flipped = {
        at: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (60, 100, head + 700, len(whole) - 1)
    }
    broken = {f"cut at {at}": whole[:at] for at in (head // 2, head - 2, head, head + 600, len(whole) - 1)}
    broken |= {f"changed at {at}": content for at, content in flipped.items()}
    before = machine.written()
    for what, content in broken.items():
        path = tmp_path / "broken.run"
        path.write_bytes(content)
        assert machine.install(path).returncode != 0, what
        assert machine.written() - {"srv/bundle.run"} == before, what


def test_it_installs_upgrades_and_leaves_settings_and_data(machine, tmp_path):
    root = machine.seen / "root"
    first = make(tmp_path, "1.0")
    done = machine.install(first, "--check")
    assert done.returncode == 0, done.stderr
    assert machine.written() == {"srv/bundle.run"}

    done = machine.install(first)
    assert done.returncode == 0, done.stderr
    assert machine.run("cityeye-agent").stdout == "1.0\n"
    done = machine.run("runuser", "-u", "cityeye-center", "--", "cityeye-collector")
    assert done.stdout == "1.0\n", done.stderr
    assert (root / "etc/systemd/system/cityeye-broker-reload.path").exists()
    assert machine.run("stat", "-c", "%U %a", "/etc/cityeye/box.toml", "/var/lib/cityeye").stdout == (
        "cityeye 640\ncityeye 700\n"
    )

    for name in SETTINGS:
        (root / name).write_text("mine")
    (root / "opt/cityeye.d/stray").mkdir()  # of an installation that the power cut
    (root / machine.run("readlink", "/opt/cityeye").stdout.strip()[1:] / "models/mine.onnx").write_text("mine")
    assert machine.install(make(tmp_path, "1.1")).returncode == 0
    assert machine.run("cityeye-agent").stdout == "1.1\n"
    assert machine.run("cat", "/opt/cityeye/models/mine.onnx").stdout == "mine"
    assert len(machine.run("sh", "-c", "ls -d /opt/cityeye.d/*/").stdout.split()) == 1

    # what cannot be used changes nothing of what is
    for version, options, reason in (
        ("1.2", {"program": "no_such"}, "the new agent does not run"),
        ("1.3", {"roles": ["agent"]}, "this machine has the center"),
        ("1.4", {"debian": "9"}, "expected Debian 9"),
    ):
        done = machine.install(make(tmp_path, version, **options))
        assert done.returncode == 1
        assert reason in done.stderr
    assert machine.run("cityeye-agent").stdout == "1.1\n"
    assert [(root / name).read_text() for name in SETTINGS] == ["mine"] * len(SETTINGS)

    done = machine.run("sh", "/opt/cityeye/install.sh", "--uninstall")
    assert done.returncode == 0, done.stderr
    assert [(root / name).read_text() for name in SETTINGS] == ["mine"] * len(SETTINGS)
    # the books of Debian: users and packages
    books = re.compile(
        r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|var/(lib/dpkg|lib/apt|log|cache)/|etc/\.pwd\.lock$"
    )
    left = {name for name in machine.written() if not books.match(name)}
    assert left == {*SETTINGS, "srv/bundle.run"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_containers_are_what_the_units_are():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((ROOT / "deploy/center/compose.yaml").read_text("utf-8"))
    services = compose["services"]
    unit = (ROOT / "deploy/units/cityeye-collector.service").read_text("utf-8")
    settings = (ROOT / "deploy/center/center.toml").read_text("utf-8")
    assert f"ExecStart=/opt/cityeye/bin/{' '.join(services['collector']['command'])}\n" in unit
    assert f"User={services['collector']['user']}\n" in unit
    assert {volume.split(":")[0] for one in services.values() for volume in one["volumes"]} == {*compose["volumes"]}
    published = {port.split(":")[1] for one in services.values() for port in one.get("ports", ())}
    assert published == {*re.findall(r'(?m)^(?:url|broker_url) = "\S+:(\d+)"', settings), "443"}
