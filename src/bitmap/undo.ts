/** Undoes one step of a change. Valid only while nothing else has changed since. */
export type Undo = () => void;

/** Undoes the steps of a change, the last one first. */
export function undoAll(undos: Undo[]): void {
  for (const undo of undos.splice(0).reverse()) undo();
}
