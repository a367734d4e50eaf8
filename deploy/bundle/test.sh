#!/bin/sh
# The whole of it for real: bundles of agent and center in fresh roots of Debian that have no route, their checks, an
# incident from the box to a ticket, an upgrade with incidents waiting, and the removal. As root: test.sh 12|13
set -eu
cd "$(dirname "$0")/../.."
debian=${1:-12}
case $debian in 12) codename=bookworm ;; 13) codename=trixie ;; *) echo "expected 12 or 13, got $debian" >&2; exit 2 ;; esac
arch=$(dpkg --print-architecture)
work=$PWD/.cache/bundle
base=$work/base-$codename
roots=$work/roots-$debian
started=$(date +%s)

note() { echo "[$(($(date +%s) - started)) s] $*"; }
wrong() { echo "FAILED: $*" >&2; exit 1; }
bundle() { echo "$work/$2/cityeye-$1-$2-debian$debian-$arch.run"; }

if [ "${2:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || wrong "expected root"
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    if [ ! -e "$base/.whole" ]; then
        # the mirror of this machine's own apt
        mirror=$(sed -n 's/^URIs: *//p; s/^deb  *\(\[[^]]*\] \)*\([^ ]*\).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
        mkdir -p "$work"
        rm -rf "$base"
        debootstrap --variant=minbase "$codename" "$base" "$mirror" >"$work/debootstrap.log" 2>&1
        touch "$base/.whole"
        note "a fresh root of Debian $debian"
    fi
    for version in 1.0 1.1; do
        for role in agent center; do
            [ -e "$(bundle $role $version)" ] && [ -z "${BUILD:-}" ] && continue
            .venv/bin/python deploy/bundle/build.py --for $role --debian "$debian" --arch "$arch" --version $version --out "$work/$version"
        done
    done
    exec unshare --mount --net --pid --fork --kill-child --mount-proc sh "$0" "$debian" inside
fi

ip link set lo up
[ "$$" = 1 ] || wrong "expected process ids of its own"
[ -z "$(ip route; ip -6 route show default)" ] || wrong "a route is here"
rm -rf "$roots"
for role in agent center; do
    root=$roots/$role/root
    mkdir -p "$root" "$roots/$role/over" "$roots/$role/work"
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$roots/$role/over,workdir=$roots/$role/work" "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    echo "127.0.0.1 localhost center.test" >"$root/etc/hosts"
    : >"$root/etc/resolv.conf"
done
in_agent() { env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 CITYEYE_MODELS=/opt/cityeye/models chroot "$roots/agent/root" "$@"; }
in_center() { env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$roots/center/root" "$@"; }
as_box() { in_agent runuser -u cityeye -- env HOME=/var/lib/cityeye "$@"; }
as_center() { in_center runuser -u cityeye-center -- env HOME=/var/lib/cityeye-center "$@"; }
install_both() {
    for role in agent center; do
        cp "$(bundle $role "$1")" "$roots/$role/root/root/bundle.run"
        "in_$role" sh /root/bundle.run || wrong "install of $role $1"
        rm "$roots/$role/root/root/bundle.run"
        note "$role $1 is installed: $(du -shx "$roots/$role/root/opt" | cut -f 1) in /opt"
    done
}
listens() { timeout 60 bash -c "until (echo >/dev/tcp/127.0.0.1/$1) 2>/dev/null; do sleep 0.3; done" || wrong "nobody listens on $1"; }
center_up() {
    # no systemd that would have it read its lists again
    in_center sh /opt/cityeye/broker.sh >"$roots/mosquitto.log" 2>&1 &
    listens 8883
}
serve() {
    as_center cityeye-collector serve --settings $center >"$roots/collector.log" 2>&1 &
    listens 8884
}
waiting() { as_box cityeye-agent outbox --settings $box | cut -d , -f 1; }
stop() { for process in $(pgrep -f "$1"); do kill -s "${2:-TERM}" "$process"; done; sleep 3; }
# Debian's own, what this test has written, and .ses of onnxruntime, which the services have in a /tmp of their own
books='^./(etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|.pwd.lock|hosts|resolv.conf|ld.so.cache|mailcap)|var/(cache|log)/.*|tmp/.ses|run/.*|var/lib/(dpkg|apt|systemd)/.*)$'
data='^./(etc|var/lib)/(cityeye|cityeye-center|mosquitto)/'
box=/etc/cityeye/box.toml
center=/etc/cityeye-center/center.toml

install_both 1.0
in_center sh /opt/cityeye/center-setup.sh --id xiaohe --host center.test --admin wang --region 330105
center_up
as_center cityeye-collector check --settings $center || wrong "cityeye-collector check"
as_center cityeye-collector broker check --settings $center || wrong "cityeye-collector broker check"
serve
note "the center serves"
as_center sh -c "cd /var/lib/cityeye-center && cityeye-collector boxes add --site xiaohe --csv codes.csv --settings $center" >/dev/null
label=$(in_center cat /var/lib/cityeye-center/codes.csv | tr ',' '\n' | grep -o 'https://[^"]*claim=[^"]*' | head -n 1)
as_box sh -c "cd /etc/cityeye && cityeye-agent enrol '$label'" || wrong "enrol"
cp .cache/vtest.avi "$roots/agent/root/srv/clip.avi"
cat >>"$roots/agent/root$box" <<'BOX'

[[camera]]
id = "cam-1"
source = "/srv/clip.avi"
learn_s = 5

[[camera.zone]]
id = "crossing"
kind = "gathering"
polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
max_people = 1
dwell_s = 2
clear_s = 2
BOX
as_box cityeye-agent check --settings $box || wrong "cityeye-agent check"
note "both checks are good"

# no center: what is seen waits on the box, through a kill and an upgrade
stop "cityeye-collector serve"
stop "mosquitto -c"
as_box cityeye-agent run --settings $box >"$roots/agent.log" 2>&1 &
for _ in $(seq 60); do case $(waiting) in [1-9]*) break ;; esac; sleep 2; done
sleep 3
stop "cityeye-agent run" KILL
before=$(waiting)
case $before in [1-9]*) ;; *) tail "$roots/agent.log" >&2; wrong "no incident within 120 s: $before" ;; esac
sums=$(in_agent sha256sum $box; in_center sha256sum $center)
install_both 1.1
[ "$(waiting)" = "$before" ] || wrong "the outbox was '$before', it is '$(waiting)'"
[ "$(in_agent sha256sum $box; in_center sha256sum $center)" = "$sums" ] || wrong "settings have changed"
note "kept by the upgrade: $before"
as_box cityeye-agent --version | grep -qF 1.1 || wrong "the version is $(as_box cityeye-agent --version)"
center_up
as_center cityeye-collector check --settings $center || wrong "check after the upgrade"
serve
as_box cityeye-agent check --settings $box || wrong "check after the upgrade"
as_box cityeye-agent run --settings $box >>"$roots/agent.log" 2>&1 &
: >"$roots/metrics"
timeout 120 sh -c "until grep -q '^cityeye_tickets_open [1-9]' '$roots/metrics'; do chroot '$roots/center/root' /usr/bin/python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8080/metrics\").read().decode())' >'$roots/metrics' 2>/dev/null; sleep 1; done" ||
    wrong "no ticket of what had waited within 120 s"
note "what waited is a ticket at the center"
stop "cityeye-agent run"
stop "cityeye-collector serve"
stop "mosquitto -c"

for role in agent center; do
    rm -f "$roots/agent/root/srv/clip.avi"
    "in_$role" sh /opt/cityeye/install.sh --uninstall || wrong "removal of $role"
    # what belongs to a package that is installed was there before, perhaps older
    sed 's/^/./' "$roots/$role/root"/var/lib/dpkg/info/*.list >"$roots/owned"
    left=$(find "$roots/$role/over" -type f -printf './%P\n' | grep -vE -e "$books" -e "$data" | grep -vxFf "$roots/owned" || true)
    [ -z "$left" ] || wrong "left behind by $role: $left"
done
note "all of it is good; settings and data alone are left"
