const processorMilliseconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/**
 * Resolves to the result of the work, and the processor time of the longest turn of the event loop during it. Processor
 * time does not depend on other processes, although helper threads of this process add to it.
 */
export async function watchTurns<T>(work: () => Promise<T>): Promise<{ result: T; longest: number }> {
  let [longest, last, running] = [0, processorMilliseconds(), true];
  const turn = () => {
    const now = processorMilliseconds();
    longest = Math.max(longest, now - last);
    last = now;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const result = await work();
  running = false;
  turn();
  return { result, longest };
}
