/** Signals that ask a program to stop: from the user, a supervisor, or a terminal that closes. */
export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Aborts on the first signal to stop, so that a command can clean up; a second signal ends the program at once. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  const abort = () => {
    for (const signal of stopSignals) process.off(signal, abort);
    controller.abort(new Error('interrupted'));
  };
  for (const signal of stopSignals) process.on(signal, abort);
  return controller.signal;
}
