/** A stack of clean-up steps, run in reverse order. */
export class Cleanup {
  private readonly steps: (() => unknown)[] = [];

  /** `run` calls `step` once; it may be asynchronous. */
  defer(step: () => unknown): void {
    this.steps.push(step);
  }

  /** Runs every step, even after one fails. Rejects with the first failure. */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** Whether `work` ends in time; it carries on if it does not. Rejects if `work` rejects in time. */
export async function endsWithin(seconds: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), seconds * 1000);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
