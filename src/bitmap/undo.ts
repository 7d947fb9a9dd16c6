/** Takes back one change, as long as nothing else has changed since. */
export type Undo = () => void;

/**
 * Runs `work`, which puts into `undos` what takes back each of its steps. Returns what takes back all of them; when the
 * work throws they are taken back at once.
 */
export function undoable(work: (undos: Undo[]) => void): Undo {
  const undos: Undo[] = [];
  const undo = () => {
    for (const one of undos.splice(0).reverse()) one();
  };
  try {
    work(undos);
    return undo;
  } catch (error) {
    undo();
    throw error;
  }
}
