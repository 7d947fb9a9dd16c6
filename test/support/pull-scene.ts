import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { BackupService } from '../../src/agent/backup-service.js';
import { type PullRequest, pull } from '../../src/agent/pull.js';
import { restore } from '../../src/agent/restore.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { MemoryDevice } from './memory-device.js';
import { DISK_BYTES, startMemoryServer } from './memory-server.js';
import { scratchFolder } from './scratch-folder.js';
import { ScriptedBackups } from './scripted-backups.js';

export const quiet = { signal: new AbortController().signal, onProgress: () => {} };

/** A server of disks in memory, a service that makes backups of them, and a directory for the images. */
export async function pullScene(...exports: string[]) {
  const names = exports.length > 0 ? exports : ['disk'];
  const devices = new Map(names.map((name) => [name, new MemoryDevice(DISK_BYTES)]));
  const server = await startMemoryServer(
    names.map((name) => ({ name, device: devices.get(name)!, bitmaps: ['nightly'] })),
  );
  const uriOf = (name: string) => `nbd+unix:///${encodeURIComponent(name)}?socket=${server.path}`;
  const service = new ScriptedBackups(uriOf);
  const directory = scratchFolder();
  const notes: string[] = [];
  const request = (change: Partial<PullRequest> = {}): PullRequest => ({
    exports: names,
    bitmap: 'nightly',
    directory,
    full: false,
    connections: 2,
    bytesPerSecond: undefined,
    commitPatienceSeconds: 5,
    signal: new AbortController().signal,
    observer: { note: (name, text) => notes.push(`${name}: ${text}`), progress: () => {} },
    ...change,
  });
  return {
    ...{ service, directory, notes, uri: uriOf(names[0]!) },
    folder: join(directory, names[0]!),
    pull: (change?: Partial<PullRequest>, from: BackupService = service) => pull(request(change), from),
    async write(offset: number, length: number, value: number, name = names[0]!) {
      const client = await NbdClient.connect(uriOf(name));
      await client.write(offset, Buffer.alloc(length, value));
      await client.disconnect();
    },
    /** Makes a change that no bitmap records. */
    writeUnseen(offset: number, length: number, value: number, name = names[0]!) {
      expect(devices.get(name)!.writeNow(Buffer.alloc(length, value), 0, length, offset)).toBe(0);
    },
    async restored(at?: string, exportName = names[0]!): Promise<Buffer> {
      const to = join(scratchFolder(), 'restored.img');
      await restore({ directory, exportName, at, to, force: false, check: true, ...quiet });
      return readFileSync(to);
    },
  };
}

/** The content of the manifest in a folder. */
export function manifestOf(folder: string) {
  return JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
}

/** A disk of zeroes, except for these writes. */
export function diskWith(...writes: [offset: number, length: number, value: number][]): Buffer {
  const content = Buffer.alloc(DISK_BYTES);
  for (const [offset, length, value] of writes) content.fill(value, offset, offset + length);
  return content;
}
