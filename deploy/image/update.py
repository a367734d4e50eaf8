"""Makes an update: a root file system in a RAUC bundle, signed, with what copies its kernel to the ESP.

python -m deploy.image.update ROOT.squashfs TARGET.raucb --compatible cityeye-amd64 --version 0.1.0 --keys FOLDER
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MANIFEST = """\
[update]
compatible={compatible}
version={version}

[bundle]
format={form}

[hooks]
filename=hook

[image.rootfs]
filename=rootfs.img
hooks=post-install
"""
HOOK = """\
#!/bin/sh
# After the root was written: its kernel goes to the ESP, by the means of the system that runs.
set -eu
[ "$1" = slot-post-install ]
root=$(mktemp -d)
mount -t squashfs -o ro "$RAUC_SLOT_DEVICE" "$root"
trap 'umount "$root"; rmdir "$root"' EXIT
"${CITYEYE_BOOTSLOT:-/usr/lib/cityeye/bootslot}" kernel "$RAUC_SLOT_BOOTNAME" "$root"
"""


def bundle(root: Path, target: Path, *, compatible: str, version: str, keys: Path, form: str = "verity") -> None:
    """Make a bundle of a squashfs; raises OSError.

    `keys` is a folder with `signing.pem` and `signing.key` (`deploy/image/keys`); a box takes the form `verity` only.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        content = Path(made, "content")
        content.mkdir()
        try:
            os.link(root, content / "rootfs.img")
        except OSError:  # on another disk
            (content / "rootfs.img").symlink_to(root.resolve())
        (content / "hook").write_text(HOOK, "utf-8")
        (content / "hook").chmod(0o755)
        (content / "manifest.raucm").write_text(
            MANIFEST.format(compatible=compatible, version=version, form=form), "utf-8"
        )
        command = ("rauc", "bundle", "--cert", keys / "signing.pem", "--key", keys / "signing.key")
        # the content is compressed already
        packed = ("--mksquashfs-args=-comp zstd -Xcompression-level 1", content, Path(made, "new"))
        done = subprocess.run([*command, *packed], check=False, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"rauc bundle: {done.stderr.strip()}")
        Path(made, "new").replace(target)


def main() -> None:
    """Make one from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("target", type=Path)
    for name in ("compatible", "version"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    asked = parser.parse_args()
    try:
        bundle(asked.root, asked.target, compatible=asked.compatible, version=asked.version, keys=asked.keys)
    except OSError as fault:
        sys.exit(f"update: {fault}")
    print(f"{asked.target}: {asked.target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
