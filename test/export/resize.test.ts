import { expect, test } from 'vitest';
import { memoryRegistry } from '../support/memory-server.js';
import { snapshotOf } from '../support/snapshots.js';

test('a disk does not shrink under the view of a backup, even when nothing is frozen for it', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  const { snapshot } = snapshotOf(served.disk);
  const detach = served.copyBeforeWrite.attach(snapshot);
  await expect(served.resize(served.sizeBytes / 2)).rejects.toMatchObject({
    code: 'EXPORT_IN_USE',
    message: `"disk" cannot shrink under a backup's view`,
  });
  detach();
  await expect(served.resize(served.sizeBytes / 2)).resolves.toBeUndefined();
});
