/** What asks a program to stop: somebody, a supervisor, a terminal that goes away. */
export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Aborts with the first signal to stop, so that a command can clear up; a second one ends the program at once. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  const abort = () => {
    for (const signal of stopSignals) process.off(signal, abort);
    controller.abort(new Error('interrupted'));
  };
  for (const signal of stopSignals) process.on(signal, abort);
  return controller.signal;
}
