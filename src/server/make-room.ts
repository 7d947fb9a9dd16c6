/** A connected client that may have to make room for a new one. */
export interface Guest {
  /** Where the client comes from: an address, or a user of this machine. */
  readonly origin: string;
  /** In the time of performance.now(). */
  readonly connectedAtMilliseconds: number;
  /** Whether the client has not chosen an export yet. */
  readonly undecided: boolean;
  /** Disconnects the client at once. */
  giveWay(): void;
}

/** A handshake takes a few round trips. One that lasts longer than this is idle: it waits for its client. */
const IDLE_MILLISECONDS = 1000;
/** The fraction of all connections that idle handshakes of one address may occupy. */
const IDLE_PART = 1 / 8;

/**
 * Makes room for a client from `origin`, and returns whether there is any. If the address has too many idle handshakes, its
 * oldest one is disconnected. If the table is full, the oldest handshake from any address is. Clients that have chosen an
 * export are never disconnected.
 */
export function makeRoom(guests: Set<Guest>, origin: string, maxGuests: number, nowMilliseconds: number): boolean {
  const cut = (guest: Guest) => {
    guests.delete(guest);
    guest.giveWay();
  };
  const mostIdle = Math.max(1, Math.floor(maxGuests * IDLE_PART));
  if (guests.size >= mostIdle) {
    const idleSince = nowMilliseconds - IDLE_MILLISECONDS;
    const idle = [...guests].filter(
      (guest) => guest.undecided && guest.origin === origin && guest.connectedAtMilliseconds <= idleSince,
    );
    // A set keeps the order of arrival.
    for (const guest of idle.slice(0, Math.max(0, idle.length - mostIdle + 1))) cut(guest);
  }
  if (guests.size < maxGuests) return true;
  const oldest = [...guests].find(({ undecided }) => undecided);
  if (!oldest) return false;
  cut(oldest);
  return true;
}
