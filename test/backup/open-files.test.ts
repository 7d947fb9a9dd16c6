import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { Control, Refusal } from '../support/control.js';
import { xfsDisk } from '../support/mounted-disk.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark } from '../support/tidemark.js';

type Described = Backup;

const folders = {
  'copies old data': async () => ({ folder: scratchFolder('tmpfs'), clones: false }),
  'clones the image': async () => ({ folder: (await xfsDisk()).path, clones: true }),
};

test.each(Object.entries(folders))(
  'a server that %s has no more files open after its backups than before',
  async (_how, make) => {
    const { folder, clones } = await make();
    const image = join(folder, 'disk.img');
    const before = Buffer.alloc(4 * MIB, 'a');
    writeFileSync(image, before);
    const server = await startTidemark(`disk=${image},bitmap=nightly`);
    const control = new Control(server.control);
    const { pid } = await control.call<{ pid: number }>('GET', '/v1/server');
    const disk = await NbdClient.connect(server.uri('disk'));
    const openFiles = () => readdirSync(`/proc/${pid}/fd`).length;
    const isScratch = (fd: string) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(join(dirname(server.control), 'state/scratch/'));
      } catch {
        return false; // It was closed in the meantime.
      }
    };
    const scratchFiles = () => readdirSync(`/proc/${pid}/fd`).filter(isScratch);
    const begin = (wanted: object = {}) =>
      control.call<Described>('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly', ...wanted });
    const end = ({ id }: Described, verb: string) => control.call<Described>('POST', `/v1/backups/${id}/${verb}`);

    await end(await begin(), 'commit');
    const idle = openFiles();
    for (const verb of ['commit', 'abort', 'commit', 'abort']) {
      const content = readFileSync(image);
      const backup = await begin();
      // With a clone there is no record of what is overwritten.
      expect(backup.exports[0]!.disk?.path).toBe(clones ? undefined : image);
      const view = await NbdClient.connect(backup.exports[0]!.uri);
      await disk.write(64 * KIB, Buffer.alloc(128 * KIB, verb));
      await disk.trim(MIB, 64 * KIB);
      expect((await view.read(0, content.length)).equals(content), 'the view is the image at the cut').toBe(true);
      const { scratch } = await control.call<Described>('GET', `/v1/backups/${backup.id}`);
      expect(scratch.usedBytes > 0, `${scratch.usedBytes} bytes of old data`).toBe(!clones);
      expect(scratchFiles().length).toBe(clones ? 0 : 1);
      expect(openFiles()).toBeGreaterThan(idle);
      await end(backup, verb);
      view.abort();
    }
    await expect(begin({ since: '20200101-000000-abcd' })).rejects.toThrow(Refusal);
    await expect(begin({ exports: ['disk', 'nope'] })).rejects.toThrow(Refusal);
    // The files are closed after the connections that read them.
    await vi.waitUntil(() => openFiles() <= idle, { timeout: 20_000 });
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
    await disk.disconnect();
  },
);
