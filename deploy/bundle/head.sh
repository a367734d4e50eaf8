#!/bin/sh
# CityEye without the internet: `sh THIS --help`. Every byte is compared before anything is touched.
SUM=@SUM@
{
# in one pair of braces: of a file that was cut short in these lines nothing runs
set -eu
export LC_ALL=C
sum=$({ head -n 2 "$0"; tail -n +4 "$0"; } | sha256sum | cut -c 1-64)
if [ "$sum" != "$SUM" ]; then
    echo "安装包不完整或已被改动，未做任何更改；请重新拷贝 / $0 is cut short or was changed; nothing was touched: copy it again" >&2
    exit 2
fi
unpacked=$(mktemp -d "${TMPDIR:-/var/tmp}/cityeye.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
trap 'exit 1' HUP INT TERM
tail -n +@LINE@ "$0" | tar -xf - -C "$unpacked" || {
    echo "磁盘空间不足，未做任何更改 / no room to unpack it in ${TMPDIR:-/var/tmp}; nothing was touched: free some, or set TMPDIR" >&2
    exit 2
}
sh "$unpacked/install.sh" "$@" && exit
exit "$?"
}
