#!/bin/sh
# The container's server: NBD on every address, disks and state on the volumes. The arguments are those of
# `tidemark serve`, and come behind these.
set -eu
exec "${TIDEMARK:-tidemark}" serve --listen "${TIDEMARK_LISTEN:-0.0.0.0:10809}" \
  --state "${TIDEMARK_STATE:-/var/lib/tidemark}" --control "${TIDEMARK_CONTROL:-/var/lib/tidemark/control.sock}" "$@"
