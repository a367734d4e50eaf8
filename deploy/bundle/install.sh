#!/bin/sh
# Installs CityEye from a bundle on Debian, or brings it up to date; needs no network and may be run again.
#   sh cityeye-….run                        install or upgrade
#   sh cityeye-….run --check                look whether it fits this machine; touch nothing
#   sh /opt/cityeye/install.sh --uninstall  remove all but settings and data
# shellcheck disable=SC1091,SC2013,SC2154 # what `bundle` sets, and lists of words
{
set -eu
umask 022
export LC_ALL=C.UTF-8
HOME_OF_ALL=/opt/cityeye.d  # a folder of its own for each installation; /opt/cityeye points to the one in use
UNITS=/etc/systemd/system
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "$1 / $2"; }
fail() {
    echo "失败：$1 / FAILED: $2" >&2
    exit 1
}
systemd_runs() { [ -d /run/systemd/system ]; }
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
plays() { case " $roles " in *" $1 "*) ;; *) return 1 ;; esac; }
user_of() { case $1 in agent) echo cityeye ;; center) echo cityeye-center ;; esac; }
unit_of() { case $1 in agent) echo cityeye-agent ;; center) echo cityeye-collector ;; esac; }

# The bundle is made for this machine.
look() {
    release=$(. /etc/os-release && echo "$ID $VERSION_ID")
    [ "$release" = "debian $debian" ] ||
        fail "需要 Debian $debian，本机为 $release" "expected Debian $debian, got $release; take the bundle made for it"
    [ "$(dpkg --print-architecture)" = "$arch" ] ||
        fail "需要 $arch，本机为 $(dpkg --print-architecture)" "expected $arch, got $(dpkg --print-architecture); take the bundle made for it"
    for role in $(cat /opt/cityeye/roles 2>/dev/null); do
        plays "$role" || fail "本机已装有 $role，此包中没有" "this machine has the $role, which is not in this bundle (its roles: $roles); make one with FOR=both"
    done
}

# apt sees the bundle and nothing else, and leaves the machine's own lists alone.
apt_here() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$here/sources.list" \
        -o Dir::Etc::sourceparts="$here/apt" -o Dir::State::lists="$here/apt/lists" -o Dir::Cache="$here/apt/cache" \
        -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@"
}

debian_packages() {
    missing=
    for package in $packages; do is_installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0
    mkdir -p "$here/apt/lists/partial" "$here/apt/cache/archives/partial" "$HOME_OF_ALL"
    echo "deb [trusted=yes] file:$here/debs ./" >"$here/sources.list"
    apt_here update || fail "apt 无法读取安装包" "apt cannot read the bundle"
    # shellcheck disable=SC2086 # names are words
    apt_here -s install --no-install-recommends $missing >"$here/apt/plan" ||
        fail "Debian 软件包无法安装，未做任何更改" "apt cannot install$missing beside what is here; nothing was touched"
    # noted first: what was not here before is what a removal may take away
    awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' "$here/apt/plan" >>"$HOME_OF_ALL/packages"
    # shellcheck disable=SC2086
    apt_here install -y --no-install-recommends $missing >"$here/apt/log" 2>&1 || {
        tail -n 20 "$here/apt/log" >&2
        fail "Debian 软件包安装失败" "dpkg failed, see above; mend it and run this again"
    }
    say "已安装 Debian 软件包：$missing" "Debian packages are installed:$missing, and what they need"
}

user_and_folders() {
    user=$(user_of "$1")
    getent passwd "$user" >/dev/null ||
        useradd --system --user-group --home-dir "/var/lib/$user" --shell /usr/sbin/nologin "$user"
    install -d -m 750 -o "$user" -g "$user" "/etc/$user"
    if [ "$1" = agent ]; then
        install -d -m 700 -o "$user" -g "$user" "/var/lib/$user"
        if [ ! -e /etc/cityeye/box.toml ]; then
            cat >"$here/box.toml" <<'BOX'
# /opt/cityeye/share/doc/cityeye/box.example.toml explains every line. An enrolled box needs neither id, site nor [center].
version = 1

[box]
state_dir = "/var/lib/cityeye"
timezone = "Asia/Shanghai"
BOX
            install -m 640 -o "$user" -g "$user" "$here/box.toml" /etc/cityeye/box.toml
        fi
    else
        # mosquitto passes through to broker/; what else lies there is closed to it
        install -d -m 751 -o "$user" -g "$user" "/var/lib/$user"
        # `init` gives mosquitto its key
        if getent group mosquitto >/dev/null; then usermod --append --groups mosquitto "$user"; fi
    fi
}

# A new folder beside the one in use: a cut of the power in here costs nothing.
programs() {
    mkdir -p "$HOME_OF_ALL"
    new=$(mktemp -d "$HOME_OF_ALL/$id.XXXXXX")
    chmod 755 "$new"
    trap 'rm -rf "$new"' EXIT
    found=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$found" = "$python" ] || fail "需要 Python $python，本机为 $found" "expected Debian's Python $python, got $found"
    /usr/bin/python3 -m venv --without-pip "$new"
    "$new/bin/python" "$(echo "$here"/pip/pip-*.whl)/pip" --isolated install --quiet --no-index --no-cache-dir --no-deps \
        --disable-pip-version-check --root-user-action ignore --require-hashes --find-links "$here/wheels" -r "$here/requirements.txt" ||
        fail "Python 软件包安装失败，正在使用的版本未受影响" "pip failed; what was in use still is"
    mkdir -p "$new/models" "$new/share/doc"
    cp -r "$here/share" "$new/share/doc/cityeye"
    cp "$here/install.sh" "$here/bundle" "$new/"
    cp "$here"/center/*.sh "$new/" 2>/dev/null || :
    echo "$roles" >"$new/roles"
    for model in "$here"/models/* /opt/cityeye/models/*; do
        if [ -e "$model" ] && [ ! -e "$new/models/${model##*/}" ]; then cp -p "$model" "$new/models/"; fi
    done
    for role in $roles; do
        # libraries leave things in the home of whoever runs them
        HOME=$here TMPDIR=$here "$new/bin/$(unit_of "$role")" --version >/dev/null || fail "新版本无法运行，正在使用的版本未受影响" "the new $role does not run; what was in use still is"
    done
    # one installed by hand
    [ -L /opt/cityeye ] || [ ! -d /opt/cityeye ] || mv /opt/cityeye "$HOME_OF_ALL/by-hand"
    ln -s "$new" "$HOME_OF_ALL/next.$$"
    mv -T "$HOME_OF_ALL/next.$$" /opt/cityeye
    trap - EXIT
    for command in agent collector models; do ln -sf "/opt/cityeye/bin/cityeye-$command" /usr/local/bin/; done
    say "程序：$new" "programs: $new, which /opt/cityeye points to"
}

services() {
    install -d "$UNITS"
    for role in $roles; do
        for unit in "$here/units/$role"/*; do install -m 644 "$unit" "$UNITS/"; done
    done
    systemd_runs || {
        say "systemd 未运行：单元已放好，未启用" "systemd does not run here: units lie in $UNITS, none is enabled"
        return
    }
    systemctl daemon-reload
    for role in $roles; do
        unit=$(unit_of "$role")
        systemctl enable --quiet "$unit"
        if systemctl is-active --quiet "$unit"; then
            systemctl restart "$unit" ||
                fail "$unit 未能重新启动；旧版本仍在 $HOME_OF_ALL" "$unit did not start again: journalctl -u $unit says why; the version before is still in $HOME_OF_ALL"
        fi
    done
}

next_steps() {
    if plays agent; then
        cat <<'NEXT'
下一步（盒子）/ next, on a box:
  1. 扫描标签入网 / enrol with its label:
     cd /etc/cityeye && runuser -u cityeye -- cityeye-agent enrol '标签二维码内容 / TEXT OF THE LABEL'
  2. 在 /etc/cityeye/box.toml 中加入摄像头 / put cameras into /etc/cityeye/box.toml
  3. runuser -u cityeye -- env CITYEYE_MODELS=/opt/cityeye/models cityeye-agent check --settings /etc/cityeye/box.toml
  4. systemctl start cityeye-agent
NEXT
    fi
    if plays center; then
        cat <<'NEXT'
下一步（中心）/ next, at a center:
  1. 盒子访问中心所用的主机名或地址 / with the host name or address that boxes reach it by:
     sh /opt/cityeye/center-setup.sh --id xiaohe --host center.example --admin wang
  2. runuser -u cityeye-center -- cityeye-collector check --settings /etc/cityeye-center/center.toml
NEXT
    fi
    say "卸载（保留设置与数据）：sh /opt/cityeye/install.sh --uninstall" "to remove all but settings and data: the same"
}

uninstall() {
    for unit in cityeye-agent.service cityeye-collector.service cityeye-broker-reload.path cityeye-broker-reload.service; do
        if systemd_runs && [ -e "$UNITS/$unit" ]; then systemctl disable --quiet --now "$unit" 2>/dev/null || :; fi
        rm -f "$UNITS/$unit" "$UNITS"/*.wants/"$unit"
    done
    case $(readlink /etc/mosquitto/mosquitto.conf) in /var/lib/cityeye-center/*)
        rm /etc/mosquitto/mosquitto.conf
        mv /etc/mosquitto/mosquitto.conf.debian /etc/mosquitto/mosquitto.conf
        if systemd_runs && is_installed mosquitto; then systemctl restart mosquitto || :; fi
    esac
    if systemd_runs; then systemctl daemon-reload; fi
    for command in agent collector models; do rm -f "/usr/local/bin/cityeye-$command"; done
    # dpkg refuses what something else needs; what holds data is not purged
    data='' rest='' kept=''
    for package in $(cat "$HOME_OF_ALL/packages" 2>/dev/null); do
        is_installed "$package" || continue
        case $package in mosquitto | postgresql*) data="$data $package" ;; *) rest="$rest $package" ;; esac
    done
    # shellcheck disable=SC2086
    [ -z "$data" ] || dpkg --remove $data >/dev/null 2>&1 || :
    # shellcheck disable=SC2086
    [ -z "$rest" ] || dpkg --purge $rest >/dev/null 2>&1 || :
    for package in $data $rest; do if is_installed "$package"; then kept="$kept $package"; fi; done
    rm -rf /opt/cityeye "$HOME_OF_ALL"
    [ -z "$kept" ] || say "其他软件仍需要，已保留：$kept" "other software needs these, they stay:$kept"
    say "已卸载，保留设置与数据" "removed; settings and data stay, with the users that own them:"
    for left in /etc/cityeye /etc/cityeye-center /var/lib/cityeye /var/lib/cityeye-center /etc/mosquitto /var/lib/mosquitto; do
        if [ -e "$left" ]; then echo "  $left"; fi
    done
}

case ${1:-} in
'' | --check | --uninstall) ;;
*)
    sed -n '2,5s/^# *//p' "$0"
    [ "$1" = --help ] && exit 0
    fail "不认识 $1" "expected --check, --uninstall or nothing, got $1"
    ;;
esac
[ "$(id -u)" = 0 ] || fail "需要 root 权限" "expected root; run it with sudo"
if [ "${1:-}" = --uninstall ]; then
    uninstall
    exit 0
fi
(cd "$here" && sha256sum --check --strict --quiet SHA256SUMS) ||
    fail "安装包中的文件与校验值不符，未做任何更改" "a file is not the one of SHA256SUMS; nothing was touched: copy the bundle again"
# id, version, roles, debian, arch, python, packages
. "$here/bundle"
look
say "安装包完好，适用于本机" "the bundle is whole and fits: CityEye $version ($id), $roles, Debian $debian, $arch"
[ "${1:-}" != --check ] || exit 0
before=$(readlink /opt/cityeye || :)
debian_packages
for role in $roles; do user_and_folders "$role"; done
programs
services
find "$HOME_OF_ALL" -mindepth 1 -maxdepth 1 -type d ! -path "$new" -exec rm -rf {} +
if [ -n "$before" ]; then
    say "已升级，设置与数据未变" "upgraded; settings and data are as they were"
else
    say "已安装" "installed"
    next_steps
fi
exit 0
}
