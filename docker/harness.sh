#!/bin/sh
# Runs real clients against NBD servers, and compares what they read with what they wrote.
#   harness.sh URI...
# Each URI names a writable export of at least 32 MiB. Its content is overwritten. If it has a dirty bitmap "nightly", the
# bitmap is checked too. The exit code is 0 when everything was right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
KIB=1024
MIB=1048576

say() { echo "harness: $*"; }

fail() {
  say "FAILED: $*" >&2
  exit 1
}

# Under docker compose the servers start at the same time as this script.
wait_for() {
  for _ in $(seq 100); do
    if nbdinfo --size "$1" >"$folder/size" 2>"$folder/error"; then return; fi
    sleep 0.3
  done
  fail "no server answers at $1: $(cat "$folder/error")"
}

# qemu-io sends single requests and reads each back.
small_requests() {
  qemu-io -f raw -c 'write -P 7 0 64k' -c 'write -P 9 100k 3k' -c 'write -z 16k 16k' -c 'discard 48k 16k' -c flush \
    -c 'read -P 7 0 16k' -c 'read -P 0 16k 16k' -c 'read -P 7 32k 16k' -c 'read -P 9 100k 3k' "$1" >"$folder/qemu-io" ||
    fail "qemu-io on $1: $(cat "$folder/qemu-io")"
  ! grep -q 'verification failed' "$folder/qemu-io" || fail "qemu-io on $1 did not read back what it wrote"
}

# nbdcopy uses several connections and many requests at a time.
large_copy() {
  dd if=/dev/urandom of="$folder/source" bs=$MIB count=24 status=none
  nbdcopy "$folder/source" "$1" || fail "nbdcopy to $1"
  nbdcopy "$1" "$folder/copy" || fail "nbdcopy from $1"
  cmp -n $((24 * MIB)) "$folder/source" "$folder/copy" || fail "$1 differs from what was copied to it"
}

# qemu-img queries the allocation first.
image_copy() {
  truncate -s "$(cat "$folder/size")" "$folder/image"
  dd if="$folder/source" of="$folder/image" bs=$MIB count=2 seek=5 conv=notrunc status=none
  qemu-img convert -n -f raw -O raw "$folder/image" "$1" || fail "qemu-img convert to $1"
  qemu-img compare -q -f raw -F raw "$folder/image" "$1" || fail "qemu-img compare on $1"
}

# fio writes at random places and verifies what it wrote.
random_writes() {
  (cd "$folder" && fio --name=random --ioengine=nbd --uri="$1" --rw=randwrite --bsrange=512-64k --blockalign=512 \
    --size=32M --io_size=16M --iodepth=16 --verify=crc32c --verify_fatal=1 --output=fio.log) ||
    fail "fio on $1: $(cat "$folder/fio.log")"
}

# The bitmap has recorded since it was made, so the granules written here are dirty, whatever else is.
bitmap() {
  if ! nbdinfo --json --no-content "$1" | grep -q 'qemu:dirty-bitmap:nightly'; then
    say "$1 has no bitmap nightly"
    return
  fi
  qemu-io -f raw -c 'write -P 3 20M 4k' -c 'write -P 3 30M 128k' "$1" >"$folder/qemu-io" || fail "qemu-io on $1"
  nbdinfo --map=qemu:dirty-bitmap:nightly "$1" >"$folder/map" || fail "nbdinfo --map on $1"
  for at in $((20 * MIB)) $((30 * MIB)) $((30 * MIB + 64 * KIB)); do
    awk -v at=$at '$1 <= at && at < $1 + $2 && $3 == 1 { found = 1 } END { exit !found }' "$folder/map" ||
      fail "the granule at $at is not dirty on $1"
  done
  say "the bitmap of $1 is right"
}

[ $# -gt 0 ] || fail 'no URI given'
for uri in "$@"; do
  wait_for "$uri"
  for check in small_requests large_copy image_copy random_writes bitmap; do
    "$check" "$uri"
  done
  say "$uri passed"
done
