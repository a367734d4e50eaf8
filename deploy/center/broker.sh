#!/bin/sh
# mosquitto where no systemd reloads it, as in a container: it reads its lists again when the collector has written them.
set -eu
files=/var/lib/cityeye-center/broker
until [ -s $files/mosquitto.conf ] && [ -s $files/crl.pem ]; do sleep 1; done
mosquitto -c $files/mosquitto.conf &
broker=$!
trap 'kill "$broker"' INT TERM
sums() { sha256sum $files/crl.pem $files/acl $files/server.pem; }
known=$(sums)
while kill -0 "$broker" 2>/dev/null; do
    sleep 2
    now=$(sums) || continue
    [ "$now" = "$known" ] || kill -HUP "$broker"
    known=$now
done
wait "$broker"
