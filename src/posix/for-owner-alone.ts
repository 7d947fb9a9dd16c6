const ONLY_FOR_THE_OWNER = 0o177;

/** Runs `make`; the sockets and files that it creates before it returns are accessible to their owner only. */
export function forOwnerAlone(make: () => void): void {
  const before = process.umask(ONLY_FOR_THE_OWNER);
  try {
    make();
  } finally {
    process.umask(before);
  }
}
