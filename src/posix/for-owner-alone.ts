const ONLY_FOR_THE_OWNER = 0o177;

/** Runs `make`, in which sockets and files are made that only their owner can use. What it makes later is not covered. */
export function forOwnerAlone(make: () => void): void {
  const before = process.umask(ONLY_FOR_THE_OWNER);
  try {
    make();
  } finally {
    process.umask(before);
  }
}
