import { setTimeout as delay } from 'node:timers/promises';
import { SECTOR_BYTES } from '../../../src/base/units.js';
import { NbdClient } from '../../../src/client/nbd-client.js';
import type { Random } from '../../support/random.js';
import { blocksOf } from './blocks.js';
import type { WriteLog } from './write-log.js';

const MAX_SECTORS = 96;
/** For a while all writes go to a small part of the area, so that most of it stays clean between two backups. */
const HOT_SECTORS = 512;

/** An area of a disk that only one writer uses. */
export interface Area {
  readonly disk: number;
  readonly firstSector: number;
  readonly sectors: number;
}

/** Writes to its area until the server is gone, with several requests in flight that never overlap. */
export async function writeUntilGone(uri: string, area: Area, log: WriteLog, random: Random): Promise<void> {
  const depth = 1 + random.below(4);
  const laneSectors = Math.floor(area.sectors / depth);
  const lanes = Array.from({ length: depth }, (_, lane) => area.firstSector + lane * laneSectors);
  // The server was killed, as planned, perhaps before this client was connected. Acknowledged writes are in the log.
  const client = await NbdClient.connect(uri).catch(() => undefined);
  if (!client) return;
  // Wait for each of them, because one that is pausing begins another write before it notices.
  await Promise.allSettled(
    lanes.map((firstSector) => writeLane(client, { ...area, firstSector, sectors: laneSectors }, log, random)),
  );
}

async function writeLane(client: NbdClient, area: Area, log: WriteLog, random: Random): Promise<never> {
  for (let hot = area.firstSector; ; ) {
    if (random.chance(40)) {
      hot = area.firstSector + random.below(area.sectors - HOT_SECTORS);
      await delay(random.below(40));
    }
    const sectors = 1 + random.below(MAX_SECTORS);
    const first = hot + random.below(HOT_SECTORS - sectors);
    const write = log.begin(area.disk, first, sectors);
    await client.write(first * SECTOR_BYTES, blocksOf(write.sequence, area.disk, first, sectors));
    log.acknowledge(write);
  }
}
