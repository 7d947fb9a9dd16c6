/** What went wrong, and how to repeat it. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure';

  constructor(
    readonly target: string,
    readonly iteration: number,
    cause: Error,
  ) {
    super(`${target}, iteration ${iteration}: ${cause.message}`, { cause });
  }
}
