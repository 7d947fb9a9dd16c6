import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

const built = resolve(import.meta.dirname, '../../dist/server/server-threads.js');

test('a process ends at once even if one of its threads never returns, for which process.exit would wait', async () => {
  const fifo = join(scratchFolder(), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const script = `
    import { open } from 'node:fs';
    import { endProcess } from ${JSON.stringify(built)};
    open(${JSON.stringify(fifo)}, 'r', () => {});
    endProcess(3);
  `;
  expect((await outcomeOf(process.execPath, '--input-type=module', '--eval', script)).code).toBe(3);
});
