#!/bin/busybox sh
# The first process of a kernel under test: makes the file system usable, has the agent ask the
# verifier, runs the test programs that /tests/list names one after the other, says how each ended,
# and ends the machine.

/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TMPDIR=/tmp
export FOOBAR_AGENT=/usr/bin/foobar-agent FOOBAR_BUSYBOX=/bin/busybox
. /tests/environment
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /run/netns /dev/pts
mount -t devpts devpts /dev/pts
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up

echo "foobar: Linux $(uname -r) runs"
echo "foobar: begin verify"
foobar-agent verify 2>&1
echo "foobar: end verify $?"
while read -r name arguments; do
    echo "foobar: begin $name"
    # Without quotes: the arguments are words.
    (cd /tmp && exec /tests/$name $arguments) </dev/null 2>&1
    echo "foobar: end $name $?"
done </tests/list
echo "foobar: done"
reboot -f
