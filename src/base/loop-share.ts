/** Requests should wait at most 10 ms. The rest of that is left for the last step and the other work of the turn. */
const SHARE_MILLISECONDS = 4;

/** When `giveWay` was first called in this turn; undefined before that. */
let askedAt: number | undefined;
let turnIsComing = false;
const waiting: (() => void)[] = [];

/**
 * Await this before each step of a computation that may be long; a step takes about a millisecond. All such
 * computations together get a few milliseconds of each turn of the event loop. After that they queue, and each turn
 * runs one step.
 */
export async function giveWay(): Promise<void> {
  if (waiting.length === 0 && shareIsLeft()) return;
  await new Promise<void>((goOn) => {
    waiting.push(goOn);
    awaitTurn();
  });
}

function shareIsLeft(): boolean {
  const now = performance.now();
  askedAt ??= now;
  awaitTurn();
  return now - askedAt < SHARE_MILLISECONDS;
}

function awaitTurn(): void {
  if (turnIsComing) return;
  turnIsComing = true;
  setImmediate(beginTurn);
}

function beginTurn(): void {
  turnIsComing = false;
  askedAt = undefined;
  const goOn = waiting.shift();
  if (!goOn) return;
  askedAt = performance.now();
  awaitTurn();
  goOn();
}
