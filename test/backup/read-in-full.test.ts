import { expect, test } from 'vitest';
import { BackupServer, type Described, underWay } from '../support/backup-server.js';
import { expectProblem } from '../support/problem.js';

const said = { export: 'disk', code: 'chain-damaged', detail: 'an image is damaged' };
const commitPath = ({ id }: Described) => `/v1/backups/${id}/commit`;

test('a backup that its agent read in full counts as full, even after a restart', async () => {
  const { server, backup } = await underWay();
  expect(backup.exports[0]).toMatchObject({ mode: 'incremental' });
  const after = await server.call<Described>('POST', commitPath(backup), { readInFull: [said] });
  const { code, detail } = said;
  expect(after.exports[0]).toMatchObject({ mode: 'full', base: null, fullReason: { code, detail } });
  expect(await server.commit(backup)).toEqual(after);
  await server.restart();
  expect(await server.look(backup)).toEqual(after);
});

test('a full backup requested by the server keeps its reason', async () => {
  const server = await BackupServer.start();
  const backup = await server.begin();
  const after = await server.call<Described>('POST', commitPath(backup), { readInFull: [said] });
  expect(after.exports[0]).toMatchObject({ mode: 'full', fullReason: { code: 'no-such-bitmap' } });
});

test('an export that is not in the backup is refused, and the backup goes on', async () => {
  const { server, backup } = await underWay();
  const answer = await server.ask('POST', commitPath(backup), { readInFull: [{ ...said, export: 'other' }] });
  expectProblem(answer, 'BACKUP_INVALID', `backup ${backup.id} does not include "other"`, 'it includes disk');
  expect(await server.look(backup)).toMatchObject({ state: 'active' });
  expect((await server.ask('POST', commitPath(backup), { readInFull: [{ ...said, code: 'No!' }] })).status).toBe(400);
  expect(await server.commit(backup)).toMatchObject({ state: 'committed', exports: [{ mode: 'incremental' }] });
});
