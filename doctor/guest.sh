#!/bin/sh
# Kontor's doctor: measures this machine and shows what came of it at
# /kontor-doctor.json on port 80, and on the console. It needs no more than a
# shell with the usual tools, and something that serves files over HTTP.
run=@RUN@
boot=$(cat /proc/sys/kernel/random/boot_id)
www=/www
perboot=/var/lib/cloud/scripts/per-boot
[ ! -d $perboot ] || [ -e $perboot/kontor-doctor ] || { cp "$0" $perboot/kontor-doctor; chmod 755 $perboot/kontor-doctor; }

tell() {
    line="{\"run\":\"$run\",\"boot\":\"$boot\"$1}"
    echo "$line" >$www/kontor-doctor.new
    mv $www/kontor-doctor.new $www/kontor-doctor.json
    echo "kontor-doctor: $line" >/dev/console
}

# seconds since the start, whole and in hundredths
whole() { read -r up _ </proc/uptime; up=${up%.*}; }
hundredths() { read -r up _ </proc/uptime; up=${up%.*}${up#*.}; }

# loops counts how often a second the shell goes round, over three seconds.
loops() {
    whole; start=$up
    while whole; [ "$up" = "$start" ]; do :; done
    end=$((up + 3)) thousands=0
    while n=0; whole; [ "$up" -lt $end ]; do
        while [ $n -lt 1000 ]; do n=$((n + 1)); done
        thousands=$((thousands + 1))
    done
    loops=$((thousands * 1000 / 3))
}

# disk finds the data volume: where this guest mounts it by itself, or else a
# disk that is blank and not in use.
disk() {
    disk= wait=15
    [ ! -x /etc/rc.disks ] || wait=90
    while [ $wait -gt 0 ]; do
        disk=$(awk '$2 ~ "^/mnt/" {print $2; exit}' /proc/mounts)
        [ -z "$disk" ] || { disk=$disk/kontor-doctor; return; }
        wait=$((wait - 1)); sleep 1
    done
    for path in /sys/block/vd* /sys/block/sd* /sys/block/xvd* /sys/block/nvme*; do
        name=${path##*/}
        [ -e "$path" ] && [ "$(cat "$path/size")" -gt 1000000 ] || continue
        ! grep -q "^/dev/$name" /proc/mounts || continue
        [ "$(head -c 1048576 "/dev/$name" | tr -d '\000' | head -c 1 | wc -c)" = 0 ] || continue
        disk=/dev/$name
        return
    done
}

# transfer writes 64 MiB that do not compress, flushed each 4 MiB, and reads
# them back from the disk; write and read are in kB/s.
transfer() {
    head -c 4194304 /dev/urandom >/run/kontor-doctor.block
    hundredths; start=$up i=0
    while [ $i -lt 16 ]; do
        dd if=/run/kontor-doctor.block of="$disk" bs=4194304 seek=$i count=1 conv=notrunc,fsync || return 1
        i=$((i + 1))
    done
    hundredths; write=$((6710886 / (up > start ? up - start : 1)))
    sync
    echo 3 >/proc/sys/vm/drop_caches
    hundredths; start=$up
    dd if="$disk" of=/dev/null bs=4194304 count=16 || return 1
    hundredths; read=$((6710886 / (up > start ? up - start : 1)))
    rm -f /run/kontor-doctor.block
}

measure() {
    sleep 5 # the start of everything else
    loops
    disk
    if [ -n "$disk" ] && transfer; then
        tell ",\"done\":true,\"loops\":$loops,\"write\":$write,\"read\":$read"
    else
        tell ",\"done\":true,\"loops\":$loops"
    fi
}

serve() {
    www=/run/kontor-doctor
    mkdir -p $www
    cd $www || exit 1
    if busybox httpd -p 80 -h $www; then return; fi
    for python in python3 /usr/libexec/platform-python; do
        ! command -v $python || { $python -m http.server 80 & return; }
    done
}

{
    [ -d $www ] || serve
    tell ""
    measure
} >/dev/null 2>&1 </dev/null &
