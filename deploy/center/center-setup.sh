#!/bin/sh
# A center's first run, after the bundle: settings, CA, broker, first admin. May be run again; what is there is kept.
#   sh center-setup.sh --id xiaohe --host center.example [--host 10.0.0.5]… [--admin wang] [--name 小河街道] [--region 330105]
# --host: every name and address that boxes reach this machine by.
{
set -eu
umask 027
share=$(cd "$(dirname "$0")" && pwd)/share/doc/cityeye
settings=/etc/cityeye-center/center.toml
data=/var/lib/cityeye-center

say() { echo "$1 / $2"; }
fail() {
    echo "失败：$1 / FAILED: $2" >&2
    exit 1
}
as_center() { (cd "$data" && runuser -u cityeye-center -- env HOME="$data" "$@"); }

id='' hosts='' host='' admin='' name=CityEye region=''
while [ $# -gt 0 ]; do
    case $1 in
    --id | --host | --admin | --name | --region) [ $# -gt 1 ] || fail "$1 缺少值" "expected a value after $1" ;;
    *) sed -n '2,4s/^# *//p' "$0"; [ "$1" = --help ] && exit 0; fail "不认识 $1" "expected one of these, got $1" ;;
    esac
    case $2 in *[\"\\\&\|\'\ ]*) fail "$1 含有不允许的字符" "expected $1 without quotes, spaces, \\, & and |, got $2" ;; esac
    case $1 in
    --id) id=$2 ;;
    --admin) admin=$2 ;;
    --name) name=$2 ;;
    --region) region=$2 ;;
    --host) host=${host:-$2} hosts="$hosts --name $2" ;;
    esac
    shift 2
done
[ "$(id -u)" = 0 ] || fail "需要 root 权限" "expected root; run it with sudo"
[ -n "${id:+$host}" ] || fail "需要 --id 和 --host" "expected --id and --host; --help says more"

if [ -e "$settings" ]; then
    say "沿用 $settings" "$settings is there and stays as it is"
else
    sed -e "s|@ID@|$id|" -e "s|@NAME@|$name|" -e "s|@REGION@|$region|" -e "s|@HOST@|$host|" "$share/center.toml" >"$settings.part"
    chown cityeye-center:cityeye-center "$settings.part"
    chmod 640 "$settings.part"
    mv "$settings.part" "$settings"
fi
if [ ! -e "$data/ca/ca.key" ]; then
    install -d -m 755 -o cityeye-center -g cityeye-center "$data/broker"
    # shellcheck disable=SC2086 # words
    as_center /opt/cityeye/bin/cityeye-collector init --settings "$settings" $hosts ${admin:+--admin "$admin"} | sed '/^put into/,$d'
fi
conf=/etc/mosquitto/mosquitto.conf
if [ -w /etc/mosquitto ] && [ "$(readlink $conf)" != "$data/broker/mosquitto.conf" ]; then
    [ ! -e $conf ] || mv $conf $conf.debian
    ln -s "$data/broker/mosquitto.conf" $conf
fi
if [ -d /run/systemd/system ]; then
    systemctl restart mosquitto
    systemctl enable --quiet --now cityeye-broker-reload.path
    as_center /opt/cityeye/bin/cityeye-collector check --settings "$settings"
    as_center /opt/cityeye/bin/cityeye-collector broker check --settings "$settings"
    systemctl enable --quiet --now cityeye-collector
    say "中心已启动：http://127.0.0.1:8080" "the center runs: http://127.0.0.1:8080"
else
    say "systemd 未运行：请自行启动 mosquitto 与 cityeye-collector" "systemd does not run here: start mosquitto, then cityeye-collector serve"
fi
say "请立即备份 $data/ca，并妥善保管" "back up $data/ca at once, where nobody else reads it"
exit 0
}
