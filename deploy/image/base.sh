#!/bin/sh
# What turns Debian's packages into a box's system: all that needs programs of the box's processor. mmdebstrap runs it
# with the root as $1.
set -eu
root=$1
chroot "$root" groupadd --system --gid 900 cityeye
chroot "$root" useradd --system --uid 900 --gid 900 --home-dir /var/lib/cityeye --shell /usr/sbin/nologin cityeye

# what no box beside a camera has
for modules in "$root"/usr/lib/modules/*; do
    for unused in sound arch/x86/kvm virt drivers/input/misc drivers/gpu/drm/amd drivers/gpu/drm/nouveau drivers/gpu/drm/radeon drivers/infiniband \
        drivers/isdn drivers/staging drivers/media/dvb-frontends drivers/media/tuners drivers/media/rc \
        drivers/net/ethernet/mellanox drivers/net/ethernet/chelsio drivers/net/ethernet/qlogic drivers/net/fddi \
        drivers/scsi/qla2xxx drivers/scsi/lpfc drivers/scsi/bfa drivers/iio drivers/comedi drivers/usb/misc/sisusbvga \
        fs/ocfs2 fs/gfs2 fs/ceph fs/afs fs/coda fs/reiserfs fs/jfs fs/btrfs fs/xfs net/ceph net/dccp net/rds net/tipc; do
        rm -rf "$modules/kernel/$unused"
    done
    chroot "$root" depmod "${modules##*/}"
done

cd "$root"
# under one name whichever version it is: what a slot is booted with
mv boot/vmlinuz-* boot/linux
mv boot/initrd.img-* boot/initrd
rm -f boot/System.map-* boot/config-* vmlinuz* initrd.img*
# each is run at each start, and finds nothing to do
for generator in cryptsetup debug getty gpt-auto hibernate-resume integritysetup rc-local run system-update sysv veritysetup; do
    rm usr/lib/systemd/system-generators/systemd-$generator-generator
done
# it waits for the card, and the rest of the system need not wait for both
sed -i 's/^\(Before=.*\) sysinit.target/\1/' usr/lib/systemd/system/systemd-timesyncd.service
# of one machine, of one moment, or of no use where nothing is installed
rm -rf etc/ssh/ssh_host_* etc/.pwd.lock etc/*- etc/ld.so.cache~ usr/share/bash-completion usr/share/zsh usr/share/locale \
    usr/share/i18n usr/share/lintian usr/share/bug usr/share/info usr/lib/python3*/test usr/lib/python3*/idlelib \
    usr/lib/python3*/ensurepip usr/lib/python3*/lib2to3 usr/lib/python3*/pydoc_data usr/share/python-wheels
find usr -name __pycache__ -prune -exec rm -rf {} +
# -xdev: mmdebstrap has bound this machine's own /dev/shm and others there
find var dev run tmp -xdev -mindepth 1 -delete 2>/dev/null || :
: >etc/machine-id
mkdir -p opt/cityeye
ln -sf ../run/cityeye/localtime etc/localtime
ln -sf ../run/NetworkManager/resolv.conf etc/resolv.conf
rm -f etc/timezone etc/motd
