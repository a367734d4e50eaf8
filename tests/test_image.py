"""The parts of the image's builder that make no image; `make image-test` is the whole of it."""

import re
import subprocess

import pytest

from deploy.image import build
from deploy.image.boards import BOARDS
from tests.services import ROOT


def test_each_board_is_built_of_what_it_needs_or_says_what_is_missing():
    for name, board in BOARDS.items():
        assert board.compatible == f"cityeye-{name}"
        assert f"linux-image-{board.arch}" in board.all_packages
        assert len({*board.all_packages}) == len(board.all_packages)
        assert {"rauc", "network-manager", "modemmanager", "openssh-server"} <= {*board.all_packages}
        assert not {"gcc", "apt", "systemd-boot"} & {*board.all_packages}
    with pytest.raises(build.BuildError, match=r"BOARD=rk3588 cannot be built: .*u-boot"):
        build.look(BOARDS["rk3588"])


def test_a_manifest_names_each_package_but_not_the_commit_and_is_the_same_again(tmp_path):
    (tmp_path / "debs").mkdir()
    stanza = "Package: {0}\nVersion: {1}\nDescription: a\n b\nFilename: ./x.deb\nSize: 1\nSHA256: {2}\n"
    debs = [("zstd", "1.5", "bb" * 32), ("adduser", "3.1:2+deb12u1", "aa" * 32)]
    (tmp_path / "debs/Packages").write_text("\n".join(stanza.format(*deb) for deb in debs), "utf-8")
    wheels = f"numpy==2.4.6 --hash=sha256:{'cc' * 32}\ncityeye==0.1.0 --hash=sha256:{'dd' * 32}\n"
    (tmp_path / "requirements.txt").write_text(wheels, "utf-8")
    listed = build.manifest(tmp_path)
    assert listed.splitlines() == [
        f"deb adduser 3.1:2+deb12u1 {'aa' * 32}",
        f"deb zstd 1.5 {'bb' * 32}",
        f"wheel numpy 2.4.6 {'cc' * 32}",
    ]


def test_of_two_partitions_none_is_taken_for_another():
    text = (build.HERE / "genimage.cfg").read_text("utf-8")
    labels = re.findall(r"partition (\S+) \{", text)
    assert labels == ["esp", "cityeye", "root-a", "root-b", "data"]
    assert len({*re.findall(r"partition-uuid = (\S+)", text)}) == len(labels)
    kinds = dict(zip(labels, re.findall(r"partition-type-uuid = (\S+)", text), strict=True))
    # by its type alone systemd-repart knows which one grows
    assert [*kinds.values()].count(kinds["data"]) == 1


def test_what_the_overlay_runs_is_good_shell_and_what_it_starts_is_there():
    scripts = [build.HERE / "base.sh", build.HERE / "keys", *(build.OVERLAY / "usr/lib/cityeye").iterdir()]
    for path in scripts:
        assert path.stat().st_mode & 0o111, path
        subprocess.run(["/bin/sh", "-n", path], check=True)
    for unit in (build.OVERLAY / "usr/lib/systemd/system").glob("cityeye-*.service"):
        (command,) = re.findall(r"(?m)^ExecStart=(/usr/lib/cityeye/\S+)$", unit.read_text("utf-8"))
        assert (build.OVERLAY / command[1:]).exists()
    assert all((build.OVERLAY / name).is_file() for name in build.EARLY)
    assert (ROOT / "deploy/units/cityeye-agent.service").exists()
