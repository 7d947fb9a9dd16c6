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

const allTests = ['test/**/*.test.ts'];
/** They need no other program than a shell's, no server of its own and no root. One that does is named *.system.test.ts. */
const unitTests = [
  'test/{base,bench,bitmap,client,export,page,posix,protocol,session,snapshot,storage,watch}/**/!(*.system).test.ts',
  'test/{layers,node-versions}.test.ts',
];
const crashTests = ['test/crash/**/*.test.ts'];

export default defineConfig({
  plugins: [threadsOfTheBuild],
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: unitTests } },
      { extends: true, test: { name: 'system', include: allTests, exclude: [...unitTests, ...crashTests] } },
      { extends: true, test: { name: 'crash', include: crashTests } },
    ],
    // Servers and real clients share two cores: generous limits, few workers.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000, interval: 10 } },
    maxWorkers: 2,
    pool: 'forks',
    reporters: ['default', new ClosingLine()],
    // Debian leaves the sbin folders, where nbd-client is, out of an ordinary user's PATH.
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  },
});
