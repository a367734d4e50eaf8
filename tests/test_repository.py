"""What the repository promises of itself."""

import configparser
import fnmatch
import re
import shutil
import subprocess
import tomllib

from agent.settings import load_settings as load_box
from collector.settings import load_settings as load_center
from tests.services import ROOT


def committed():
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        command = [git, "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        return [ROOT / name for name in listed.decode().split("\0") if name]
    # an unpacked archive: everything but what the two commands set up
    made = {".venv", ".cache", ".demo", "cityeye.egg-info", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & {*path.relative_to(ROOT).parts}]


OWN = ROOT / "models/catalogue/own"


def test_it_is_small_and_holds_no_footage_and_no_models_but_its_own():
    files = [path for path in committed() if path.exists()]
    assert sum(path.stat().st_size for path in files) < 8_000_000
    foreign = [path for path in files if path.parent != OWN]
    assert not [path for path in foreign if path.suffix in {".onnx", ".packed", ".avi", ".mp4", ".xz", ".pt", ".npz"}]


def test_each_of_its_own_models_has_a_card():
    models = sorted(OWN.glob("*.onnx.packed"))
    assert len(models) > 1
    for path in models:
        card = path.parent / f"{path.name.partition('.')[0]}.md"
        assert "Where it fails" in card.read_text("utf-8"), path


def test_an_installed_package_has_every_room_and_every_file_in_it():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    listed = {"config" if name == "cityeye_config" else name for name in setup["options"]["packages"].split()}
    files = [path.relative_to(ROOT) for path in committed()]
    rooms = {".".join(path.parts[:-1]) for path in files if path.name == "__init__.py" and path.parts[0] != "tests"}
    assert listed == rooms
    data = {
        name.replace("cityeye_config", "config"): patterns.split(", ")
        for name, patterns in setup["options.package_data"].items()
    }
    for path in files:
        if path.parts[0] not in ("agent", "collector", "config", "models", "protocol") or path.suffix == ".py":
            continue
        room = max((one for one in rooms if path.is_relative_to(one.replace(".", "/"))), key=len)
        within = path.relative_to(room.replace(".", "/")).as_posix()
        assert any(fnmatch.fnmatch(within, one) for one in data.get(room, ())), f"{path} is not installed"


def test_example_settings_are_good():
    assert load_box(ROOT / "config/box.example.toml").settings.camera[0].zone[0].kind == "frontage"
    assert load_center(ROOT / "config/center.example.toml").settings.center.region == "330105"


def test_what_the_example_of_a_camera_offers_can_be_taken_in(tmp_path):
    """Every line of a camera that is commented out, and what it needs, is good."""
    head, cameras = (ROOT / "config/box.example.toml").read_text("utf-8").split("[[camera]]", 1)
    taken_in = re.sub(r"(?m)^# (?=\[|\w+ = )", "", cameras)
    path = tmp_path / "box.toml"
    path.write_text(f"{head}[[camera]]{taken_in}", "utf-8")
    camera = load_box(path).settings.camera[0]
    assert camera.plane is not None
    assert camera.zone[0].allowed[0].what == "a bench"
    assert camera.zone[1].loiter_s == 300
    assert camera.substream == "rtsp://10.0.0.5/stream2"


def test_every_room_says_what_happens_in_it():
    for path in committed():
        if path.name == "__init__.py" and path.parts[-2] not in ("tests", "versions", "migrations"):
            head = path.read_text("utf-8").splitlines()
            assert head[0].startswith('"""'), path


def test_the_settings_of_tools_stand_in_setup_cfg():
    assert list(tomllib.loads((ROOT / "pyproject.toml").read_text())) == ["build-system"]


def test_both_readmes_begin_with_the_two_commands():
    for name in ("README.md", "README.zh-CN.md"):
        first_screen = "\n".join((ROOT / name).read_text("utf-8").splitlines()[:45])
        assert "make demo" in first_screen
        assert "make test" in first_screen
