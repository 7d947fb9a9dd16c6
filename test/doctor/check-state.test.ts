import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import { backupKey } from '../../src/bitmap/store/keys.js';
import { ServerStore } from '../../src/bitmap/store/open-store.js';
import { checkState } from '../../src/doctor/check-state.js';
import { Control } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn } from '../support/tidemark.js';

/** Returns the state directory of a server that was killed during a backup, and the ID of the backup. */
async function killedDuringBackup(): Promise<{ state: string; id: string }> {
  const folder = scratchFolder();
  const server = await startTidemarkIn(folder, [`disk=${makeImage(4 * MIB)},bitmap=nightly`]);
  const { id } = await new Control(server.control).call<{ id: string }>('POST', '/v1/backups', {
    exports: ['disk'],
    bitmap: 'nightly',
  });
  await server.stop('SIGKILL');
  return { state: join(folder, 'state'), id };
}

/** Overwrites a backup's record in the store. */
async function tamper(state: string, id: string, value: Buffer | undefined): Promise<void> {
  const store = await ServerStore.open(join(state, 'store'), silentLog);
  await store.entries.commit([{ key: backupKey(id), value }]);
  await store.close();
}

test('reports backups, including those in progress', async () => {
  const { state, id } = await killedDuringBackup();
  const { backups, exports, problems } = await checkState(state);
  expect(backups).toEqual([{ id, bitmap: 'nightly', state: 'active', exports: ['disk'] }]);
  expect(exports[0]?.bitmaps[0]).toMatchObject({ name: 'nightly', frozen: true });
  expect(problems).toEqual([]);
});

test('a frozen bitmap without a backup and an unreadable backup are problems', async () => {
  const { state, id } = await killedDuringBackup();
  const stray = 'export "disk": bitmap "nightly" is frozen, but no backup is using it';
  await tamper(state, id, Buffer.from('{'));
  expect((await checkState(state)).problems).toEqual([`backup ${id} cannot be read`, stray]);
  await tamper(state, id, undefined);
  expect((await checkState(state)).problems).toEqual([stray]);
});
