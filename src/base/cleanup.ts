/** What has to be undone, the last thing first. */
export class Cleanup {
  private readonly steps: (() => unknown)[] = [];

  /** `step` is called once, by `run`; it may be asynchronous. */
  defer(step: () => unknown): void {
    this.steps.push(step);
  }

  /** Takes every step, also after one that failed. Rejects with the first failure. */
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
