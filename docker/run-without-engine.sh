#!/bin/sh
# Builds both images and runs the harness against the server and the peer, each from its image, on a machine where no
# container engine runs. As root, on Debian, with buildah and debootstrap installed:
#   docker/run-without-engine.sh
# The official Node image is replaced by a small Debian with this machine's Node and npm.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d /var/tmp/tidemark-images-XXXXXX)
groups=

images() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
# Runs in its own process group, so that all of it can be ended.
start() {
  setsid buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" \
    run --isolation chroot --network host "$@" &
  groups="$groups $!"
}
build() { images bud --format docker --isolation chroot --network host --build-arg BASE=localhost/base --layers=false "$@" .; }
in_container() { images run --isolation chroot --network host "$@"; }

finish() {
  for group in $groups; do kill -- "-$group" || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

base() {
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/debootstrap.log"
  cp "$(command -v node)" "$work/base/usr/bin/node"
  mkdir -p "$work/base/usr/lib/node_modules"
  cp -r "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$work/base/usr/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/base/usr/bin/npm"
  # The image reaches the package servers in the same way as this machine.
  cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
  cp -r /etc/apt/apt.conf.d/. "$work/base/etc/apt/apt.conf.d/"
  container=$(images from scratch)
  images copy --quiet "$container" "$work/base" / >/dev/null
  images config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  images commit --quiet --rm "$container" localhost/base >/dev/null
  rm -rf "$work/base"
}

base
build --quiet -f docker/Dockerfile -t localhost/tidemark
build --quiet -f docker/harness.Dockerfile -t localhost/harness

server=$(images from localhost/tidemark)
harness=$(images from localhost/harness)
echo "the server's image runs as: $(in_container "$server" -- id)"

start --env TIDEMARK_LISTEN=127.0.0.1:10829 "$server" -- /opt/tidemark/docker/serve.sh \
  --export disk=/srv/tidemark/disk.img,size=64M,bitmap=nightly
start --env QEMU_NBD_ADDRESS=127.0.0.1 --env QEMU_NBD_PORT=10839 "$harness" -- /opt/harness/qemu-nbd.sh
in_container "$harness" -- /opt/harness/harness.sh nbd://127.0.0.1:10829/disk nbd://127.0.0.1:10839/disk
in_container "$server" -- node /opt/tidemark/docker/healthcheck.mjs
echo 'the health check passed'
