/** Others wait at most 10 ms; this leaves room for the last step, and for what else happens in a turn. */
const SHARE_MILLISECONDS = 4;

/** When the share of this turn was first asked for; undefined when nobody has asked yet. */
let askedAt: number | undefined;
let turnIsComing = false;
const waiting: (() => void)[] = [];

/**
 * To be awaited before each step of a computation that may be long, a step being a millisecond or so. All of them together
 * take a few milliseconds of a turn of the event loop. Beyond that they wait in line, one step a turn, however many
 * there are.
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
