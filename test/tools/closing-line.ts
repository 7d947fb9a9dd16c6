import { appendFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Ends a run with the line `N passed, N failed`, which any program that watches the run can read. In a run that is a
 * stage of `npm test` it leaves the numbers to test-stages.mjs, which prints the line for all stages.
 */
export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      counts.failed += module.errors().length;
      for (const test of module.children.allTests()) counts[test.result().state]++;
    }
    const { passed, failed } = counts;
    const skipped = counts.skipped + counts.pending;
    const file = process.env.TIDEMARK_TEST_COUNTS;
    if (file) appendFileSync(file, JSON.stringify({ passed, failed, skipped }));
    else console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  }
}
