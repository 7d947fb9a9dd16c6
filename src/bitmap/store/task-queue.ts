/** Runs one task at a time, in the order of the calls. */
export class TaskQueue {
  /** Settles when the last task has finished. It never rejects, because all later tasks wait for it. */
  private last: Promise<unknown> = Promise.resolve();

  /** Resolves to the result of `task`; `recover` gives the result instead when the task throws. */
  run<T>(task: () => Promise<T> | T, recover: (error: unknown) => T): Promise<T> {
    const done = this.last.then(task).catch(recover);
    this.last = done;
    return done;
  }

  /** Waits for the earlier tasks, and holds back later ones until the returned function is called. */
  async hold(): Promise<() => void> {
    let release = () => {};
    const before = this.last;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.last = before.then(() => released);
    await before;
    return release;
  }

  /** Resolves when the tasks queued so far have finished. */
  async idle(): Promise<void> {
    await this.last;
  }
}
