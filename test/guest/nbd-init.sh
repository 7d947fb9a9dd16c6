#!/bin/busybox sh
# The first process of a guest that is an NBD client. It does what the lines that come on the first serial port say, one
# after the other, and answers each with the output and the exit code. The kernel's console is the second port.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/sbin:/usr/bin:/bin
# Busybox prefers its own mke2fs, blkdiscard and fstrim to those of Debian, whatever the PATH.
for program in /usr/sbin/* /sbin/*; do alias "${program##*/}=$program"; done
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
stty -F /dev/ttyS0 raw -echo
exec </dev/ttyS0 3>/dev/ttyS0
echo '[ready]' >&3
while read -r line; do
  (eval "$line") >&3 2>&1 3>&- </dev/null
  echo "[exit $?]" >&3
done
poweroff -f
