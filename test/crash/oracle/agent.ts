import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Backup } from '../../../src/api/backup.js';
import { KIB } from '../../../src/base/units.js';
import { extentsOf } from '../../../src/client/block-status-walk.js';
import { NbdClient } from '../../../src/client/nbd-client.js';
import { type Control, Refusal } from '../../support/control.js';
import type { Random } from '../../support/random.js';
import { sequencesIn } from './blocks.js';
import { type Cut, checkCut, type WriteLog } from './write-log.js';

type Described = Backup;

const MAX_PIECE_BYTES = 512 * KIB;
const PATIENCE_MILLISECONDS = 20_000;

/** The planned ending of a backup. */
export type Ending = 'commit' | 'abort' | 'expire' | 'crash';

/**
 * A backup agent with its own bitmap. It rebuilds the disks from dirty extents alone, and compares them with each view.
 */
export class Agent {
  /** Bytes of views that were not read because they had not changed. */
  cleanBytes = 0;
  /** The last committed backup, and its disks. */
  private base: { readonly id: string; readonly disks: readonly Buffer[] } | undefined;
  /** A backup that was read completely, but may or may not have been committed. */
  private pending: { readonly id: string; readonly disks: readonly Buffer[] } | undefined;

  constructor(
    readonly bitmap: string,
    private readonly exports: readonly string[],
    private readonly log: WriteLog,
    private readonly random: Random,
  ) {}

  /** Makes one backup. With 'crash' it continues until the server is gone. */
  async backUp(control: Control, ending: Ending): Promise<void> {
    const { backup, cut } = await this.begin(control, ending);
    const disks: Buffer[] = [];
    for (const part of backup.exports) disks.push(await this.read(part));
    checkCut(
      cut,
      disks.map((content, disk) => sequencesIn(content, disk)),
    );
    await this.end(control, backup, disks, ending);
  }

  /** Asks, after a crash, how the last backup ended. */
  async recover(control: Control): Promise<void> {
    const { pending } = this;
    this.pending = undefined;
    if (!pending) return;
    const { state } = await control.call<Described>('GET', `/v1/backups/${pending.id}`);
    expect(['committed', 'aborted']).toContain(state);
    if (state === 'committed') this.base = pending;
  }

  private async begin(control: Control, ending: Ending): Promise<{ backup: Described; cut: Cut }> {
    const cut = this.log.openCut();
    try {
      const backup = await control.call<Described>('POST', '/v1/backups', {
        exports: this.exports,
        bitmap: this.bitmap,
        ...(this.base && { since: this.base.id }),
        // Reading extends the lease, and may pause for more than a second on a busy machine.
        ttlSeconds: ending === 'expire' ? 3 : 60,
      });
      const mode = this.base ? 'incremental' : 'full';
      expect(backup.exports.map((part) => part.mode)).toEqual(this.exports.map(() => mode));
      return { backup, cut };
    } finally {
      this.log.closeCut(cut);
    }
  }

  /** The last backup with the dirty extents on top. The whole view must equal it, however late it is read. */
  private async read(part: Described['exports'][number]): Promise<Buffer> {
    const client = await NbdClient.connect(part.uri, { contexts: [part.context] });
    try {
      const content = Buffer.from(this.base?.disks[this.exports.indexOf(part.export)] ?? Buffer.alloc(part.sizeBytes));
      for await (const window of client.extents()) {
        for (const { offset, length, status } of extentsOf(window, part.context)) {
          if (status === 1) await this.readInto(client, content, offset, length);
          else this.cleanBytes += length;
        }
      }
      const view = Buffer.alloc(part.sizeBytes);
      await this.readInto(client, view, 0, view.length);
      expect(content.equals(view), `what extents made of ${part.view} is the view`).toBe(true);
      return content;
    } finally {
      client.abort();
    }
  }

  /** Reads slowly, in pieces of random size. */
  private async readInto(client: NbdClient, content: Buffer, offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; ) {
      const bytes = Math.min(512 * (1 + this.random.below(MAX_PIECE_BYTES / 512)), offset + length - at);
      await client.read(at, bytes, content.subarray(at, at + bytes));
      at += bytes;
      if (this.random.chance(4)) await delay(this.random.below(8));
    }
  }

  private async end(control: Control, { id }: Described, disks: readonly Buffer[], ending: Ending): Promise<void> {
    switch (ending) {
      case 'commit':
      case 'crash':
        this.pending = { id, disks };
        await control.call('POST', `/v1/backups/${id}/commit`);
        this.base = this.pending;
        this.pending = undefined;
        return;
      case 'abort':
        await control.call('POST', `/v1/backups/${id}/abort`);
        return;
      case 'expire': {
        const { state, endReason } = await this.untilEnded(control, id);
        expect({ state, endReason }).toEqual({ state: 'aborted', endReason: 'expired' });
        await expect(control.call('POST', `/v1/backups/${id}/commit`)).rejects.toThrow(Refusal);
      }
    }
  }

  private async untilEnded(control: Control, id: string): Promise<Described> {
    for (const deadline = Date.now() + PATIENCE_MILLISECONDS; Date.now() < deadline; await delay(50)) {
      const backup = await control.call<Described>('GET', `/v1/backups/${id}`);
      if (backup.state !== 'active') return backup;
    }
    throw new Error(`backup ${id} is still active`);
  }
}
