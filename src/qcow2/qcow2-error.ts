/** An image that is damaged, unfinished, or of a kind that is not made here. */
export class Qcow2Error extends Error {
  override readonly name = 'Qcow2Error';

  constructor(
    readonly path: string,
    /** To stand behind the name of the file. */
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}
