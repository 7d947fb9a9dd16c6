/** An image is damaged, unfinished, or was not made by tidemark. */
export class Qcow2Error extends Error {
  override readonly name = 'Qcow2Error';

  constructor(
    readonly path: string,
    /** What is wrong, as it reads after the name of the file. */
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}
