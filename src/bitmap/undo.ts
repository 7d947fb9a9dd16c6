/** Undoes one change. Valid only while nothing else has changed since. */
export type Undo = () => void;

/**
 * Runs `work`, which pushes the undo of each of its steps. Returns an undo of all steps. If `work` throws, the steps
 * are undone at once.
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
