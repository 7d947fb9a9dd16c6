import { KIB, MIB, SECTOR_BYTES } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import type { Random } from '../support/random.js';

const DISK_BYTES = 64 * MIB;
const GRANULE_BYTES = 64 * KIB;
export const GRANULES = DISK_BYTES / GRANULE_BYTES;

const READ_BYTES = MIB;

/** What clients know about a disk: its content, and which granules were written since the last flush was answered. */
export class Ledger {
  readonly content = Buffer.alloc(DISK_BYTES);
  readonly unflushed = new Set<number>();

  note(offset: number, data: Buffer): void {
    data.copy(this.content, offset);
    for (const granule of granulesOf(offset, data.length)) this.unflushed.add(granule);
  }

  /** Forgets what was lost. `found` is the content of the disk now. */
  settle(found: Buffer): void {
    found.copy(this.content);
    this.unflushed.clear();
  }
}

/** A client that writes to an area of its own, one request after the other. */
export class Writer {
  private at: number;

  constructor(
    private readonly client: NbdClient,
    private readonly ledger: Ledger,
    private readonly random: Random,
    private readonly area: { readonly offset: number; readonly length: number; readonly sequential: boolean },
  ) {
    this.at = area.offset;
  }

  /** Rejects when the guest is gone. */
  async run(requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      if (this.random.chance(12)) await this.flush();
      else await this.write();
    }
  }

  private async write(): Promise<void> {
    const { client, ledger, random, area } = this;
    const most = area.sequential ? 128 * KIB : 16 * KIB;
    const length = SECTOR_BYTES * (1 + random.below(most / SECTOR_BYTES));
    const end = area.offset + area.length;
    if (!area.sequential || this.at + length > end) {
      this.at = area.offset + SECTOR_BYTES * random.below((area.length - length) / SECTOR_BYTES);
    }
    const offset = this.at;
    this.at += length;
    const zero = random.chance(8);
    const data = Buffer.alloc(length);
    if (!zero) data.fill(random.below(256), 0, length / 2).fill(random.below(256), length / 2);
    ledger.note(offset, data);
    if (zero) await client.zero(offset, length);
    else await client.write(offset, data, { fua: random.chance(20) });
  }

  private async flush(): Promise<void> {
    const covered = granulesOf(this.area.offset, this.area.length);
    await this.client.flush();
    for (const granule of covered) this.ledger.unflushed.delete(granule);
  }
}

/** A client for each of four parts of the disk. Three write at random, one writes sequentially. */
export async function connectWriters(uri: string, ledger: Ledger, random: Random): Promise<Writer[]> {
  const length = DISK_BYTES / 4;
  const areas = [0, 1, 2, 3].map((i) => ({ offset: i * length, length, sequential: i === 3 }));
  return Promise.all(areas.map(async (area) => new Writer(await NbdClient.connect(uri), ledger, random, area)));
}

export async function readDisk(uri: string): Promise<Buffer> {
  const client = await NbdClient.connect(uri);
  const content = Buffer.alloc(DISK_BYTES);
  for (let at = 0; at < DISK_BYTES; at += READ_BYTES) {
    await client.read(at, READ_BYTES, content.subarray(at, at + READ_BYTES));
  }
  await client.disconnect();
  return content;
}

/** The granules in which the two differ. */
export function differingGranules(one: Buffer, other: Buffer): number[] {
  return granulesOf(0, DISK_BYTES).filter((granule) => {
    const [from, to] = [granule * GRANULE_BYTES, (granule + 1) * GRANULE_BYTES];
    return one.compare(other, from, to, from, to) !== 0;
  });
}

export function granulesOf(offset: number, length: number): number[] {
  const first = Math.floor(offset / GRANULE_BYTES);
  const end = Math.ceil((offset + length) / GRANULE_BYTES);
  return Array.from({ length: end - first }, (_, i) => first + i);
}
