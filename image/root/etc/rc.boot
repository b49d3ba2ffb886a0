#!/bin/sh
# Runs first: file systems, modules, network, instance data.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev 2>/dev/null
$busybox --install -s
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/seed
echo "kontor-tiny: booting, kernel $(uname -r)"
while read -r m; do modprobe "$m" 2>/dev/null; done </etc/modules
hostname kontor-tiny
ip link set lo up

# The first card's lease is waited for; then each card keeps its own in the background.
for path in /sys/class/net/eth*; do
    [ -e "$path" ] || continue
    card=${path##*/}
    ip link set "$card" up
    options="-i $card -s /etc/lease -T 2 -O staticroutes -O mtu -O search"
    [ "$card" != eth0 ] || udhcpc $options -t 10 -n -q >/dev/null 2>&1 || echo "kontor-tiny: no lease for $card yet"
    udhcpc $options -t 5 -A 5 -b -p "/run/udhcpc.$card.pid" >/dev/null 2>&1 </dev/null &
done

/etc/rc.seed
[ -s /etc/dropbear/host ] || dropbearkey -t ed25519 -f /etc/dropbear/host >/dev/null 2>&1
