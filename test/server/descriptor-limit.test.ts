import { expect, test } from 'vitest';
import { httpLimits } from '../../src/control/http-server.js';
import { checkOpenFiles, openFilesLimit } from '../../src/server/descriptor-limit.js';
import { keepLog } from '../support/log-lines.js';

/** The messages logged for a limit on open files. */
function logged(limit: number | undefined, maxConnections: number, exports: number): unknown[] {
  const { log, lines } = keepLog();
  checkOpenFiles(limit, { maxConnections, exports }, log);
  return lines.map(({ level, fields }) => ({ level, ...(fields as object) }));
}

test('a limit that leaves nothing for disks is reported', () => {
  const reserved = 2 * httpLimits.maxConnections + 128;
  expect(logged(reserved + 256 + 3, 256, 1)).toEqual([]);
  expect(logged(reserved + 256 + 2, 256, 1)).toEqual([{ level: 'warn', limit: 514, needed: 515 }]);
  expect(logged(1024, 1000, 0)).toEqual([{ level: 'warn', limit: 1024, needed: 1256 }]);
  expect(logged(undefined, 100_000, 9)).toEqual([]);
});

test('the limit of this process can be read', async () => {
  expect(await openFilesLimit()).toBeGreaterThan(0);
});
