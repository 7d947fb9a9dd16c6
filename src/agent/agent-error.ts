/** What goes wrong with backups on this side. `message` says what, `hint` how to mend it. */
export class AgentError extends Error {
  override readonly name = 'AgentError';

  constructor(
    message: string,
    readonly hint: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** An error of the system, about a file. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string } {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' && 'syscall' in error;
}
