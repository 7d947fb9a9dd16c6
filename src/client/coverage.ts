/** The most separate runs that a reply out of order may have at a time. Real servers send in order and need one. */
const MAX_RUNS = 1024;

export type CoverageProblem = 'overlaps' | 'too scattered';

/** The bytes of a reply that have arrived, as runs in ascending order that neither touch nor overlap. */
export class Coverage {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  /** Adds the bytes from `start` to `end`, or returns why they cannot be added. */
  add(start: number, end: number): CoverageProblem | undefined {
    const { starts, ends } = this;
    const next = this.firstAfter(start);
    if (next > 0 && ends[next - 1]! > start) return 'overlaps';
    if (next < starts.length && starts[next]! < end) return 'overlaps';
    const touchesPrevious = next > 0 && ends[next - 1] === start;
    const touchesNext = next < starts.length && starts[next] === end;
    if (touchesPrevious && touchesNext) {
      ends[next - 1] = ends[next]!;
      starts.splice(next, 1);
      ends.splice(next, 1);
    } else if (touchesPrevious) {
      ends[next - 1] = end;
    } else if (touchesNext) {
      starts[next] = start;
    } else {
      if (starts.length === MAX_RUNS) return 'too scattered';
      starts.splice(next, 0, start);
      ends.splice(next, 0, end);
    }
    return undefined;
  }

  /** Whether every byte from 0 to `end` has arrived. */
  isComplete(end: number): boolean {
    return this.starts.length === 1 && this.starts[0] === 0 && this.ends[0] === end;
  }

  /** Index of the first run that begins after `position`. For a reply in order, one look at the end finds it. */
  private firstAfter(position: number): number {
    let index = this.starts.length;
    while (index > 0 && this.starts[index - 1]! > position) index--;
    return index;
  }
}
