import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';
import { ClosingLine } from './test/tools/closing-line.js';

// The workers inherit it: tests of devices have the threads of a server.
process.env.UV_THREADPOOL_SIZE ??= '64';

const root = fileURLToPath(new URL('.', import.meta.url));

/** Node runs no TypeScript in a thread, so threads are those of the build. */
const threadsOfTheBuild: Plugin = {
  name: 'threads-of-the-build',
  enforce: 'pre',
  transform(code, id) {
    if (!id.startsWith(`${root}src/`)) return undefined;
    const built = id.replace(`${root}src/`, `file://${root}dist/`);
    return code.replace(/(new URL\('\.\/[\w-]+-(?:thread|process)\.js', )import\.meta\.url\)/, `$1'${built}')`);
  },
};

export default defineConfig({
  plugins: [threadsOfTheBuild],
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
