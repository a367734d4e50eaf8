"""systemd-boot's entries: whatever a cut of the power leaves of FAT, a whole slot starts, in the end a good one."""

import functools
import itertools
import re
import shutil
from pathlib import Path

import pytest

from agent.box.bootslot import ENTRIES, TRIAL, BootError, Loader, Volume, main

CMDLINE = "ro panic=10"


def root_of(tmp_path, generation):
    """A root file system with a kernel of its own."""
    root = tmp_path / f"root{generation}"
    for name in ("boot", "etc/kernel"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "boot/linux").write_bytes(b"linux%d" % generation * 99)
    (root / "boot/initrd").write_bytes(b"initrd%d" % generation * 99)
    (root / "etc/kernel/cmdline").write_text(f"{CMDLINE}\n")
    return root


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lay_out(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ENTRIES).mkdir(parents=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


# A model of systemd-boot 252, src/boot/efi/boot.c: config_load_entries, config_entry_add_type1 (what names no kernel
# that is there is passed over), config_entry_compare, config_default_entry_select, config_entry_bump_counters.


def by_systemd_boot(files):
    """All that it could start, the next one first."""
    found = []
    for path, data in files.items():
        if path.parent != ENTRIES or path.name.startswith((".", "auto-")) or path.suffix != ".conf":
            continue
        keys = dict(re.findall(r"(?m)^(\S+)[ \t]+(.+)$", data.decode()))
        if Path(keys.get("linux", "/-").lstrip("/")) in files:
            tries = re.search(r"\+(\d+)(?:-(\d+))?\.conf$", path.name)
            found.append((path, keys, int(tries[1]) if tries else -1, int(tries[2] or 0) if tries else -1))

    def compare(one, other):
        for a, b in (
            (one[2] == 0, other[2] == 0),
            ("sort-key" not in one[1], "sort-key" not in other[1]),
            (one[1].get("sort-key", ""), other[1].get("sort-key", "")),
            (int(other[1].get("version", 0)), int(one[1].get("version", 0))),
            (other[0].name.lower(), one[0].name.lower()),
        ):
            if a != b:
                return -1 if a < b else 1
        return 0

    return sorted(found, key=functools.cmp_to_key(compare))


def start(files):
    """What starts, all that could be checked to be whole; and the ESP as it is left: one try less."""
    entries = by_systemd_boot(files)
    for path, keys, left, _ in entries:
        kernel, initrd = (files[Path(keys[name][1:])] for name in ("linux", "initrd"))
        generation = kernel[5:6]
        assert (kernel, initrd) == (b"linux%s" % generation * 99, b"initrd%s" % generation * 99)
        trial = f" {TRIAL}" if left >= 0 else ""
        assert keys["options"] == f"root=PARTLABEL=root-{path.name[8]} rauc.slot={path.name[8]} {CMDLINE}{trial}"
    path, _, left, done = entries[0]
    slot = path.name[8]
    after = dict(files)
    if left >= 0:
        after[path.with_name(f"cityeye-{slot}+{max(left - 1, 0)}-{done + 1}.conf")] = after.pop(path)
    return slot, left, after


def in_the_end(files):
    """The slot that starts for ever, if nobody confirms anything."""
    for _ in range(9):
        slot, left, files = start(files)
        if left < 0:
            return slot
    raise AssertionError(f"no good slot: {sorted(files)}")


class Unsynced(Volume):
    def sync(self, path):
        assert (self.root / path).exists()


class Fat(Unsynced):
    """Notes what each step leaves in doubt: `may` holds, per name, all that a cut may leave there (None: nothing)."""

    def __init__(self, root):
        super().__init__(root)
        self.may = {path: {data} for path, data in content(root).items()}
        self.cuts = [dict(self.may)]

    def write(self, path, data):
        super().write(path, data)
        whole = (self.root / path).read_bytes()
        self._doubt(path, {None, b"", whole[: len(whole) // 2], whole})

    def sync(self, path):
        super().sync(path)
        now = content(self.root)
        for name, may in self.may.items():
            torn = {b"", now[name][: len(now[name]) // 2]} if name in now else set()
            if name == path:
                self.may = self.may | {name: may - torn}
            elif name.parent == path:
                self.may = self.may | {name: may & {now[name], *torn} if name in now else {None}}
        self.cuts.append(self.may)

    def rename(self, path, to):
        super().rename(path, to)
        self._doubt(to, {None, *self.may[path]})
        self._doubt(path, {None})

    def remove(self, path):
        super().remove(path)
        if path in self.may:
            self._doubt(path, {None})

    def _doubt(self, path, states):
        self.may = self.may | {path: self.may.get(path, {None}) | states}
        self.cuts.append(self.may)

    def left_by_cuts(self):
        seen = set()
        for may in self.cuts:
            for states in itertools.product(*may.values()):
                files = {path: data for path, data in zip(may, states, strict=True) if data is not None}
                if (key := frozenset(files.items())) not in seen:
                    seen.add(key)
                    yield files


def install(loader, slot, root):
    """As RAUC does."""
    loader.give_up(slot)
    loader.put_kernel(slot, root)
    loader.set_primary(slot)


@pytest.fixture
def esp(tmp_path):
    """A's root is 1 and good, as flashed; B's is 2 and on trial, started once."""
    folder = lay_out(tmp_path / "esp", {})
    loader = Loader(Volume(folder))
    loader.put_kernel("a", root_of(tmp_path, 1))
    loader.set_good("a")
    assert in_the_end(content(folder)) == "a"
    install(loader, "b", root_of(tmp_path, 2))
    slot, left, files = start(content(folder))
    assert (slot, left) == ("b", 3)
    return lay_out(folder, files)


def spent(esp, tmp_path):
    """B was tried three times."""
    files = content(esp)
    for _ in range(2):
        _, _, files = start(files)
    lay_out(esp, files)


def confirmed(esp, tmp_path):
    Loader(Volume(esp)).set_good("b")


STEPS = {
    "the failed slot is installed anew": (spent, lambda loader, root: install(loader, "b", root), "ab", "a", "b"),
    "a trial is confirmed": (None, lambda loader, _root: loader.set_good("b"), "b", "ab", "b"),
    "a trial is given up": (None, lambda loader, _root: loader.give_up("b"), "ab", "a", "a"),
    "the other slot is installed": (confirmed, lambda loader, root: install(loader, "a", root), "ab", "b", "a"),
}


@pytest.mark.parametrize(("before", "do", "starts", "ends", "then"), STEPS.values(), ids=STEPS)
def test_a_cut_at_any_step_leaves_a_slot_that_starts(esp, tmp_path, before, do, starts, ends, then):
    """`starts`: the slots that may start after a cut, `ends`: those that it may end with; then it is done anew."""
    if before is not None:
        before(esp, tmp_path)
    root = root_of(tmp_path, 3)
    fat = Fat(esp)
    do(Loader(fat), root)
    cuts = 0
    for files in fat.left_by_cuts():
        assert start(files)[0] in starts
        assert in_the_end(files) in ends
        again = lay_out(tmp_path / "again", files)
        do(Loader(Unsynced(again)), root)
        assert start(content(again))[0] == then
        cuts += 1
    assert cuts > 1


def test_a_cut_while_systemd_boot_counts_costs_no_slot(esp):
    _, _, after = start(content(esp))
    (old,), (new,) = content(esp).keys() - after.keys(), after.keys() - content(esp).keys()
    entry, rest = after[new], {path: data for path, data in after.items() if path != new}
    for names in ((), (old,), (new,), (old, new)):
        left = rest | dict.fromkeys(names, entry)
        assert in_the_end(left) == "a"
        Loader(Volume(lay_out(esp, left))).set_good("b")
        assert in_the_end(content(esp)) == "b"


@pytest.mark.parametrize("file", ["linux", "initrd", "about"])
def test_no_slot_is_given_up_for_one_that_is_not_whole(esp, file):
    loader = Loader(Volume(esp))
    path = esp / "cityeye/a" / file
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BootError, match="expected slot a to be good and whole"):
        loader.give_up("b")
    path.unlink()
    with pytest.raises(BootError, match="expected slot a to be good and whole"):
        loader.put_kernel("b", esp)
    assert loader.primary() == "b"


def test_a_slot_without_its_kernel_is_not_tried(esp):
    loader = Loader(Volume(esp))
    loader.give_up("b")
    (esp / "cityeye/b/initrd").write_bytes(b"cut")
    with pytest.raises(BootError, match="expected kernel and initrd"):
        loader.set_primary("b")
    assert in_the_end(content(esp)) == "a"


def test_it_answers_as_rauc_asks(esp, capsys):
    def ask(*arguments):
        return main(["--esp", str(esp), *arguments]), capsys.readouterr().out.strip()

    assert ask("get-primary") == (0, "b")
    assert ask("tries", "b") == (0, "2 1")
    assert ask("tries", "a") == (0, "")
    assert ask("get-state", "b") == (0, "good")
    assert ask("set-state", "a", "bad") == (1, "")
    assert ask("set-state", "b", "bad") == (0, "")
    assert ask("get-state", "b") == (0, "bad")
    assert ask("get-primary") == (0, "a")
    assert ask("set-primary", "b") == (0, "")
    assert ask("get-primary") == (0, "b")
