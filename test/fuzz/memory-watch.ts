/** Before that, buffers and caches may still grow to their size. */
const MIN_SECONDS = 120;
/** A server without a leak stays below this, however short the run, and grows by no more than this when it is warm. */
const MAX_MIB = 1024;
const MAX_GROWTH_MIB = 64;
const MAX_GROWTH_SHARE = 0.3;

/** Detects a leak by comparing the median memory use of the second quarter with that of the last quarter. */
export class MemoryWatch {
  private readonly samples: { readonly seconds: number; readonly mib: number }[] = [];

  add(seconds: number, mib: number): void {
    this.samples.push({ seconds, mib });
  }

  /** What is wrong; undefined if nothing is. */
  findLeak(): string | undefined {
    const seconds = this.samples.at(-1)?.seconds ?? 0;
    const largest = Math.max(...this.samples.map(({ mib }) => mib));
    if (largest > MAX_MIB) return `the server took ${largest} MiB`;
    if (seconds < MIN_SECONDS) return undefined;
    const [warm, last] = [this.median(seconds / 4, seconds / 2), this.median((seconds * 3) / 4, seconds)];
    const isLevel = last - warm <= Math.max(MAX_GROWTH_MIB, warm * MAX_GROWTH_SHARE);
    return isLevel ? undefined : `memory leaks: ${warm} MiB in the second quarter, ${last} MiB in the last`;
  }

  private median(from: number, to: number): number {
    const within = this.samples.filter(({ seconds }) => seconds >= from && seconds <= to).map(({ mib }) => mib);
    return within.sort((a, b) => a - b)[Math.floor(within.length / 2)] ?? 0;
  }
}
