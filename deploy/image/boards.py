"""The boards that images are made for, and what each needs beside Debian for its processor."""

from dataclasses import dataclass
from typing import Final

COMMON: Final = (
    *(
        "systemd",
        "systemd-sysv",
        "systemd-timesyncd",
        "udev",
        "dbus",
        "kmod",
        "initramfs-tools",
        "zstd",
        "usr-is-merged",
    ),
    *("mount", "passwd", "procps", "iproute2", "e2fsprogs", "dosfstools", "ca-certificates", "tzdata", "netbase"),
    *("network-manager", "wpasupplicant", "wireless-regdb", "modemmanager", "usb-modeswitch", "ppp"),
    *("rauc", "rauc-service", "openssh-server", "openssl", "python3"),
)
FIRMWARE: Final = ("firmware-realtek", "firmware-misc-nonfree")
"""Redistributable: cards for cables and Wi-Fi as they are soldered onto most boards."""


@dataclass(frozen=True)
class Board:
    """A profile.

    Args:
        name: as in `BOARD=`.
        arch: Debian's word for the processor.
        packages: beside COMMON.
        efi: file that its firmware starts.
        console: kernel consoles, the last one is where the system writes.
        boot: packages whose files are on the ESP and not in the root.
        firmware: files of those, or of the root, that go onto the ESP, as globs.
        settings: files that are written onto the ESP.
        missing: why it cannot be built, one line.
    """

    name: str
    arch: str
    packages: tuple[str, ...] = ()
    console: str = "console=tty0 console=ttyS0,115200"
    boot: tuple[str, ...] = ("systemd-boot-efi",)
    firmware: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    missing: str = ""

    @property
    def efi(self) -> str:
        """What UEFI calls its processor."""
        return {"amd64": "x64", "arm64": "aa64"}[self.arch]

    @property
    def compatible(self) -> str:
        """What a bundle for it says of itself."""
        return f"cityeye-{self.name}"

    @property
    def all_packages(self) -> tuple[str, ...]:
        """Names for apt."""
        return (*COMMON, f"linux-image-{self.arch}", *FIRMWARE, *self.packages)


PI_CONFIG: Final = "arm_64bit=1\nkernel=u-boot.bin\nenable_uart=1\nupstream_kernel=1\n"
BOARDS: Final = {
    board.name: board
    for board in (
        Board("amd64", "amd64", ("firmware-iwlwifi",)),
        Board("arm64", "arm64", console="console=tty0 console=ttyAMA0,115200"),
        Board(
            "rpi",
            "arm64",
            ("firmware-brcm80211",),
            "console=tty0 console=ttyS1,115200",
            boot=("systemd-boot-efi", "raspi-firmware", "u-boot-rpi"),
            firmware=(
                "usr/lib/raspi-firmware/*.*",
                "usr/lib/u-boot/rpi_arm64/u-boot.bin",
                "usr/lib/linux-image-*/broadcom/bcm2711-rpi-*.dtb",
            ),
            settings=(("config.txt", PI_CONFIG),),
        ),
        Board(
            "rk3588",
            "arm64",
            missing=(
                "Debian 12 has no u-boot for RK3588 (u-boot-rockchip 2023.01 ends at RK3399), and its kernel 6.1 no "
                "device tree of it; where the board's own flash holds a UEFI, try BOARD=arm64"
            ),
        ),
    )
}
