#!/bin/sh
# The peer: qemu-nbd serves the same kind of disk.
set -eu
image=${QEMU_NBD_IMAGE:-/tmp/peer.img}
truncate -s 64M "$image"
exec qemu-nbd --format=raw --persistent --shared=0 --discard=unmap --detect-zeroes=off --export-name=disk \
  --bind="${QEMU_NBD_ADDRESS:-0.0.0.0}" --port="${QEMU_NBD_PORT:-10809}" "$image"
