/** Aborts with the first SIGINT or SIGTERM, so that a command can clear up; a second one ends the program at once. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => controller.abort(new Error('interrupted')));
  }
  return controller.signal;
}
