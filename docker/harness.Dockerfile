# Common NBD clients, and the script that runs them against any NBD server. The build context is the root of the repository.
ARG BASE=docker.io/library/node:24-slim

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends qemu-utils libnbd-bin nbd-client fio \
 && rm -rf /var/lib/apt/lists/*
COPY docker/harness.sh docker/qemu-nbd.sh /opt/harness/
ENTRYPOINT ["/opt/harness/harness.sh"]
