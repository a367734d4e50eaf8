#!/bin/sh
# Sets up what `make demo` and `make test` need, in this folder: .venv and .cache. Quiet; does nothing twice.
#   deploy/setup.sh venv EXTRA    a virtual environment with this package and an extra
#   deploy/setup.sh clip          .cache/vtest.avi, Debian's own sample footage
#   deploy/setup.sh tools         Debian packages that the tests use (only as root)
#   deploy/setup.sh axe           .cache/axe/axe.min.js (MPL-2.0), which tests of pages judge them with; where npm is
#   deploy/setup.sh rivals        Debian packages that `make bench` compares with (only as root)
#   deploy/setup.sh image         Debian packages that build an amd64 image and start it (only as root)
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache
PYTHON=${PYTHON:-python3}

fail() { echo "setup: $*" >&2; exit 1; }

# Runs apt-get; root may need fresh lists first.
apt() {
    [ "$(id -u)" = 0 ] || return 1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >.cache/apt.log 2>&1 && return 0
    apt-get update -qq >.cache/apt.log 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >.cache/apt.log 2>&1
}

venv() {
    stamp=".venv/.has-$1"
    [ -e "$stamp" ] && [ ! setup.cfg -nt "$stamp" ] && return 0
    if ! command -v "$PYTHON" >/dev/null; then
        apt python3 python3-venv || fail "expected Python 3.11 or later, found none; run: apt install python3-venv"
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "expected Python 3.11 or later, got $("$PYTHON" --version); set PYTHON to a newer one"
    if [ ! -x .venv/bin/pip ]; then
        "$PYTHON" -c 'import ensurepip' 2>/dev/null || apt python3-venv ||
            fail "expected Python's venv module, found none; run: apt install python3-venv"
        rm -rf .venv
        "$PYTHON" -m venv .venv || fail "the virtual environment cannot be made"
    fi
    echo "setup: installing packages into .venv (once; a minute or two)"
    .venv/bin/pip install --quiet --disable-pip-version-check -e ".[$1]" >.cache/pip.log 2>&1 || {
        tail -n 5 .cache/pip.log >&2
        fail "pip could not install the packages; is there a network? the whole log is .cache/pip.log"
    }
    touch "$stamp"
}

clip() {
    [ -s .cache/vtest.avi ] && return 0
    inside=usr/share/doc/opencv-doc/examples/data/vtest.avi
    if [ -s "/$inside" ]; then
        cp "/$inside" .cache/vtest.avi
        return 0
    fi
    echo "setup: fetching Debian's opencv-doc for its sample footage (once; some 30 MB)"
    rm -f .cache/opencv-doc_*.deb
    (cd .cache && apt-get download -qq opencv-doc >apt.log 2>&1) || {
        [ "$(id -u)" = 0 ] && apt-get update -qq >.cache/apt.log 2>&1
        (cd .cache && apt-get download -qq opencv-doc >>apt.log 2>&1) || true
    }
    deb=$(ls .cache/opencv-doc_*.deb 2>/dev/null | head -n 1)
    [ -n "$deb" ] || fail "expected Debian's package opencv-doc, it could not be fetched; set VIDEO to a clip of a street"
    dpkg-deb --fsys-tarfile "$deb" | tar -xO "./$inside" >.cache/vtest.part
    mv .cache/vtest.part .cache/vtest.avi
    rm -f "$deb"
}

tools() {
    # not on every machine, and named by what they give: broker, database, browser, its Chinese font, RTSP server, git
    missing=""
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
    [ -x /usr/bin/chromium ] || missing="$missing chromium fonts-noto-cjk"
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null ||
        missing="$missing python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
    # playwright's own node needs it
    ldconfig -p 2>/dev/null | grep -q libatomic.so.1 || /sbin/ldconfig -p | grep -q libatomic.so.1 || missing="$missing libatomic1"
    # records what an outbox writes, for cutting its power
    command -v strace >/dev/null || missing="$missing strace"
    [ -z "$missing" ] && return 0
    [ "$(id -u)" = 0 ] || { echo "setup: tests that need them are skipped, as these are missing:$missing"; return 0; }
    echo "setup: installing$missing (once)"
    # shellcheck disable=SC2086 # the names are words
    apt $missing || { tail -n 5 .cache/apt.log >&2; fail "apt could not install$missing"; }
}

axe() {
    [ -s .cache/axe/axe.min.js ] && return 0
    command -v npm >/dev/null || { echo "setup: npm is missing; the tests of accessibility are skipped"; return 0; }
    mkdir -p .cache/axe
    (cd .cache/axe && npm pack --silent axe-core@4.14.1 >npm.log 2>&1 &&
        tar -xzf axe-core-*.tgz --strip-components=1 package/axe.min.js && rm -f axe-core-*.tgz) ||
        echo "setup: axe-core could not be fetched; the tests of accessibility are skipped"
}

rivals() {
    command -v ffmpeg >/dev/null || apt ffmpeg || echo "setup: ffmpeg is missing; what needs it is left out"
}

image() {
    missing=""
    for tool in debugfs git genimage mcopy mkfs.vfat mksquashfs mmdebstrap qemu-system-x86_64 rauc ssh-keygen zstd; do
        command -v $tool >/dev/null || missing="$missing $tool"
    done
    [ -n "$missing" ] || [ ! -e /usr/share/OVMF ] || return 0
    [ "$(id -u)" = 0 ] || fail "expected root, and what builds and starts an image; missing:$missing"
    echo "setup: installing what builds an image and starts it (once)"
    apt dosfstools e2fsprogs genimage git mmdebstrap mtools openssh-client openssl ovmf qemu-system-x86 rauc squashfs-tools zstd ||
        { tail -n 5 .cache/apt.log >&2; fail "apt could not install it"; }
}

case "${1:-}" in
venv) venv "${2:?which extra}" ;;
clip) clip ;;
tools) tools ;;
axe) axe ;;
rivals) rivals ;;
image) image ;;
*) fail "expected venv EXTRA, clip, tools, axe, rivals or image, got '${1:-}'" ;;
esac
