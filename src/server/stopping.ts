import { endsWithin } from '../base/cleanup.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import type { ExportRegistry } from '../export/registry.js';

/** Steps of stopping the server that may not take for ever, such as when a disk hangs. */
export class Stopping {
  constructor(
    private readonly seconds: number,
    private readonly log: Log,
  ) {}

  /** Waits for a step, but continues if it takes too long. */
  async inTime(otherwise: string, step: Promise<unknown>): Promise<void> {
    const { seconds } = this;
    if (!(await endsWithin(seconds, step))) this.log.warn({ seconds }, `the server continues to stop: ${otherwise}`);
  }

  /** An export that is not closed in time remains in the store as after a crash. @throws CodedError STOP_TIMED_OUT */
  async closeExports(registry: ExportRegistry): Promise<void> {
    const { seconds } = this;
    if (await endsWithin(seconds, registry.close())) return;
    const exports = registry.unfinished();
    this.log.error(
      { exports, seconds },
      'disks did not answer while the server stopped, and are left as after a crash',
    );
    const names = exports.map((name) => `"${name}"`);
    throw new CodedError(
      'STOP_TIMED_OUT',
      `the disk of ${names.join(', ')} did not answer within ${seconds} s, so its bitmaps are left as after a crash`,
      'no change is lost, but more granules may be marked dirty; find out why its storage hangs',
    );
  }
}
