import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** The built modules that threads start with. */
const threads = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('-thread.ts'))
  .map((file) => file.replace(/\.ts$/, '.js'));

/**
 * Loads a built module with `require` in a thread. This fails if the module, or anything that it imports, uses
 * top-level await. Resolves to the code of the error, if there is one.
 */
async function errorOfRequire(module: string): Promise<string | undefined> {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    try { require(workerData.path); parentPort.postMessage(undefined); }
    catch (error) { parentPort.postMessage(error.code ?? error.message); }
    process.exit();`;
  const memory = new SharedArrayBuffer(8);
  const data = { source: { fd: -1 }, targetFd: -1, end: memory, stop: new Int32Array(memory) };
  const worker = new Worker(script, { eval: true, workerData: { path: join(root, 'dist', module), ...data } });
  return await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
}

test('there are threads', () => {
  expect(threads).toContain('agent/copy-thread.js');
});

test.each(threads)('no module that %s loads uses top-level await', async (thread) => {
  expect(await errorOfRequire(thread)).toBeUndefined();
});

test('a module that imports one with top-level await is detected', async () => {
  expect(await errorOfRequire('qcow2/append-file.js')).toBe('ERR_REQUIRE_ASYNC_MODULE');
});
