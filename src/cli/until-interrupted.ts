/** Aborts with the first SIGINT or SIGTERM, so that a command can clear up; a second one ends the program at once. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const abort = () => {
    for (const signal of signals) process.off(signal, abort);
    controller.abort(new Error('interrupted'));
  };
  for (const signal of signals) process.on(signal, abort);
  return controller.signal;
}
