"""Makes one file that installs CityEye where there is no network: `make bundle`.

`head.sh`, then a tar of all it needs. Debian packages come by this machine's own apt, wheels by its pip.
"""

import argparse
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "bundle"
PINS = HERE / "pins.txt"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
BROKER_UNITS = [f"deploy/broker/cityeye-broker-reload.{kind}" for kind in ("path", "service")]
PARTS = {
    "agent": {
        "units/agent": ["deploy/units/cityeye-agent.service"],
        "share": ["docs/guide/box.md", "config/box.example.toml"],
    },
    "center": {
        "units/center": ["deploy/units/cityeye-collector.service", *BROKER_UNITS],
        "center": ["deploy/center/center-setup.sh", "deploy/center/broker.sh"],
        "share": [
            *(f"docs/guide/{name}.md" for name in ("center", "enrol", "people")),
            *("config/center.example.toml", "deploy/center/center.toml"),
        ],
    },
}


class BuildError(Exception):
    """One line that says what to do."""


@dataclass(frozen=True)
class Debian:
    """A release: the Python that it has, and its glibc, 2.x."""

    codename: str
    python: str
    glibc: int


RELEASES = {"12": Debian("bookworm", "3.11", 36), "13": Debian("trixie", "3.13", 41)}


def digest(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program, `env` on top of the environment; returns what it said. Raises BuildError with the end of that."""
    place = {**os.environ, **(env or {})}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=place)
    if done.returncode:
        raise BuildError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def our_wheel(to: Path, version: str) -> Path:
    """Build the project from a copy: what lies in an old build/ does not get in."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("agent", "collector", "config", "models", "protocol"):
            shutil.copytree(ROOT / name, Path(copy, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        setup = Path(copy, "setup.cfg")
        setup.write_text(
            re.sub(r"(?m)^version = .*", f"version = {version}", setup.read_text("utf-8"), count=1), "utf-8"
        )
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", to, copy)
    (wheel,) = to.glob("cityeye-*.whl")
    return wheel


def pip_target(debian: Debian, machine: str) -> list[str]:
    """Options that have pip take wheels for another machine."""
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(debian.glibc, 4, -1)]
    platforms = [part for name in (*glibc, f"manylinux2014_{machine}") for part in ("--platform", name)]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", debian.python, *platforms]


def wheels(folder: Path, roles: list[str], debian: Debian, machine: str, version: str, *, pinned: bool) -> str:
    """Fetch wheels, and pip's; returns requirements with hashes."""
    to = folder / "wheels"
    to.mkdir()
    wheel = our_wheel(to, version)
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", *pip_target(debian, machine)]
    fetch += ["--constraint", str(PINS)] if pinned else []
    run(*fetch, "--dest", to, f"{wheel}[center,postgres]" if "center" in roles else wheel)
    run(*fetch, "--dest", folder / "pip", "pip")
    fetched = sorted([*to.glob("*.whl"), *folder.glob("pip/*.whl")])
    names = {path: "==".join(path.name.split("-")[:2]).replace("_", "-") for path in fetched}
    if not pinned:
        lines = sorted((name for path, name in names.items() if path != wheel), key=str.lower)
        PINS.write_text("\n".join(["# written by `make bundle PINS=new`", *lines]) + "\n", "utf-8")
    lines = [f"{name} --hash=sha256:{digest(path.read_bytes())}" for path, name in names.items() if path.parent == to]
    return "\n".join(lines) + "\n"


def debian_packages(
    folder: Path, names: list[str], codename: str, arch: str, *, components: str = "main", kept: Path = CACHE
) -> None:
    """Fetch packages and all that they need into `debs/`, whatever this machine has, and index them.

    Args:
        folder: gets `debs/`.
        names: as apt takes them.
        codename: of the release.
        arch: of Debian.
        components: of Debian's archive.
        kept: folder in which what was fetched lies for the next time.
    """
    cache = kept / f"{codename}-{arch}"
    for name in ("sources", "none/partial", "lists/partial", "archives/partial"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    (cache / "status").touch()
    (own,) = re.findall(r"(?m)^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text("utf-8"))
    apt = Path("/etc/apt")
    sources = [*apt.glob("sources.list"), *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    for path in sources:
        text = path.read_text("utf-8")
        if re.search(rf"\b{own}\b", text):
            text = re.sub(r"(?m)^Components: main$", f"Components: {components}", re.sub(rf"\b{own}\b", codename, text))
            (cache / "sources" / path.name).write_text(text, "utf-8")
    places = {
        "Dir::State": cache,
        "Dir::State::lists": cache / "lists",
        "Dir::State::status": cache / "status",
        "Dir::Cache": cache,
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": cache / "sources",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": cache / "none" / "partial",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "Debug::NoLocking": "1",
    }
    options = [part for key, value in places.items() for part in ("-o", f"{key}={value}")]
    run("apt-get", "-qq", *options, "update")
    install = ["apt-get", "-qq", *options, "install", "-y", "--no-install-recommends"]
    plan = run(*install, "-o", f"Dir::Cache::archives={cache / 'none'}", "--print-uris", *names)
    run(*install, "--download-only", *names)
    wanted = set(re.findall(r"(?m)^'\S+' (\S+\.deb) ", plan))
    to = folder / "debs"
    to.mkdir()
    entries = []
    for path in sorted((cache / "archives").glob("*.deb")):
        if path.name not in wanted:  # of an older plan
            path.unlink()
            continue
        shutil.copy(path, to)
        content = path.read_bytes()
        said = subprocess.run(["dpkg-deb", "-f", to / path.name], capture_output=True, text=True, check=True).stdout
        place = f"Filename: ./{path.name}\nSize: {len(content)}\nSHA256: {digest(content)}\n"
        entries.append(f"{said.rstrip()}\n{place}")
    (to / "Packages").write_text("\n".join(entries), "utf-8")


def detectors(folder: Path, names: list[str]) -> list[str]:
    """Copy what CITYEYE_MODELS has: what was named, else all of the catalogue that asks for nothing (no AGPL)."""
    sys.path.insert(0, str(ROOT))
    from models.catalogue import load_catalogue  # noqa: PLC0415 - of this checkout

    to = folder / "models"
    to.mkdir()
    for entry in load_catalogue():
        if entry.name not in names and (names or entry.licence.startswith("AGPL")):
            continue
        for place in os.environ.get("CITYEYE_MODELS", "").split(":"):
            path = Path(place, f"{entry.name}.onnx")
            if place and path.exists() and digest(path.read_bytes()) == entry.sha256:
                shutil.copy(path, to)
    found = sorted(path.stem for path in to.iterdir())
    if missing := sorted({*names} - {*found}):
        raise BuildError(f"expected {', '.join(missing)} in CITYEYE_MODELS as in the catalogue; pull them first")
    return found


def take(folder: Path, roles: list[str]) -> None:
    """Copy what comes from the repository as it is."""
    for place, paths in (part for role in roles for part in PARTS[role].items()):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(ROOT / path, folder / place)
    shutil.copy(HERE / "install.sh", folder)


def pack(folder: Path, facts: dict[str, str], target: Path) -> None:
    """Make the one file of a folder, and its .sha256; `facts`: of `bundle`, without id."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    identity = digest("".join(f"{name} {digest(content)}\n" for name, content in sorted(files.items())).encode())[:12]
    facts = {"id": identity, **facts}
    files["bundle"] = "".join(f'{key}="{value}"\n' for key, value in facts.items()).encode()
    files["SHA256SUMS"] = "".join(f"{digest(files[name])}  {name}\n" for name in sorted(files)).encode()
    payload = io.BytesIO()
    with tarfile.open(fileobj=payload, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    head = (HERE / "head.sh").read_text("utf-8")
    lines = head.replace("@LINE@", str(head.count("\n") + 1)).encode().splitlines(keepends=True)
    # the line with the sum is the one that the sum leaves out
    total = digest(b"".join([*lines[:2], *lines[3:]]) + payload.getvalue())
    content = b"".join(lines).replace(b"@SUM@", total.encode(), 1) + payload.getvalue()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755)
    target.with_name(f"{target.name}.sha256").write_text(f"{digest(content)}  {target.name}\n", "utf-8")


def main() -> None:
    """Make a bundle; says where it is, how large, and with what."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--for", dest="role", choices=["agent", "center", "both"], default="both")
    parser.add_argument("--debian", choices=RELEASES, default="12")
    parser.add_argument("--arch", choices=MACHINES, default="amd64")
    parser.add_argument("--with", dest="more", nargs="*", default=[], help="further Debian packages, as postgresql")
    parser.add_argument("--detectors", nargs="*", default=[], help="by name; default: those without AGPL")
    parser.add_argument("--new-pins", action="store_true", help="write pins.txt anew from what the index has now")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    parser.add_argument("--version", default=setup["metadata"]["version"])
    asked = parser.parse_args()
    roles = ["agent", "center"] if asked.role == "both" else [asked.role]
    debian = RELEASES[asked.debian]
    packages = ["python3", "tzdata", *(["mosquitto"] if "center" in roles else []), *asked.more]
    with tempfile.TemporaryDirectory(prefix="bundle.") as made:
        folder = Path(made)
        try:
            take(folder, roles)
            found = detectors(folder, asked.detectors)
            required = wheels(folder, roles, debian, MACHINES[asked.arch], asked.version, pinned=not asked.new_pins)
            debian_packages(folder, packages, debian.codename, asked.arch)
        except BuildError as fault:
            sys.exit(f"bundle: {fault}")
        (folder / "requirements.txt").write_text(required, "utf-8")
        facts = {"version": asked.version, "roles": " ".join(roles), "debian": asked.debian, "arch": asked.arch}
        target = asked.out / f"cityeye-{asked.role}-{asked.version}-debian{asked.debian}-{asked.arch}.run"
        pack(folder, {**facts, "python": debian.python, "packages": " ".join(packages)}, target)
        print(
            f"{target}: {target.stat().st_size / 1e6:.0f} MB; {required.count('==')} wheels, "
            f"{len([*folder.glob('debs/*.deb')])} Debian packages, detectors: {', '.join(['street-person', *found])}"
        )


if __name__ == "__main__":
    main()
