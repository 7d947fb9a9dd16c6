import { defineConfig } from 'vitest/config';
import { ClosingLine } from './test/tools/closing-line.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Servers and real clients share two cores: generous limits, few workers.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: 'forks',
    reporters: ['default', new ClosingLine()],
    // Debian leaves the sbin folders, where nbd-client is, out of an ordinary user's PATH.
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  },
});
