#!/bin/busybox sh
# The first process of the guest. It finds tidemark and its Node on /dev/vda, read-only, and on /dev/vdb the file system
# that survives a power cut. CHECK and EAGER come from the kernel's command line.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
mount -t ext4 -o ro /dev/vda /system
mount -t ext4 /dev/vdb /system/data
mount --bind /proc /system/proc
mount --bind /dev /system/dev
if [ "$EAGER" = yes ]; then
  echo 10 >/proc/sys/vm/dirty_writeback_centisecs
  echo 10 >/proc/sys/vm/dirty_expire_centisecs
fi
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up

if [ "$CHECK" = yes ]; then
  chroot /system node /tidemark/dist/main.js state check --state /data/state
  echo "state check ended with $?"
fi
chroot /system node /tidemark/dist/main.js serve --export disk=/data/disk.img,size=64M,bitmap=nightly \
  --access address:10.0.2.2,rights=admin,without-tls --listen 0.0.0.0:10809 --http 0.0.0.0:8080 --http-token-file /token --state /data/state \
  --region-size 512K --max-active-regions 12 --cool-after 0
echo "tidemark ended with $?"
poweroff -f
