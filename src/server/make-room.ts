/** A client as far as it matters to those who come after it. */
export interface Guest {
  /** Where it comes from. All clients of unix sockets are one. */
  readonly origin: string;
  /** By the clock of performance.now. */
  readonly connectedAtMilliseconds: number;
  /** It has not chosen an export yet. */
  readonly undecided: boolean;
  /** Cuts it off at once. */
  giveWay(): void;
}

/** A handshake takes some round trips. One that takes longer than this waits for its client. */
const IDLE_MILLISECONDS = 1000;
/** The part of all connections that idle handshakes of one address may hold. */
const IDLE_PART = 1 / 8;

/**
 * Makes room for a client from `origin`, and says whether there is. Of an address with too many idle handshakes the oldest
 * gives way; when the table is full, the oldest handshake of all does. A client that has chosen an export never has to.
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
    // A set is in the order in which they came.
    for (const guest of idle.slice(0, Math.max(0, idle.length - mostIdle + 1))) cut(guest);
  }
  if (guests.size < maxGuests) return true;
  const oldest = [...guests].find(({ undecided }) => undecided);
  if (!oldest) return false;
  cut(oldest);
  return true;
}
