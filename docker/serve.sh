#!/bin/sh
# Starts the server in the container: NBD on every address, disks and state on the volumes. The arguments of this script
# are passed on to `tidemark serve`. TIDEMARK_TLS names a folder of certificates, and turns TLS on.
set -eu
[ -z "${TIDEMARK_TLS:-}" ] || set -- --tls-certificates "$TIDEMARK_TLS" "$@"
exec "${TIDEMARK:-tidemark}" serve --listen "${TIDEMARK_LISTEN:-0.0.0.0:10809}" \
  --state "${TIDEMARK_STATE:-/var/lib/tidemark}" --control "${TIDEMARK_CONTROL:-/var/lib/tidemark/control.sock}" "$@"
