import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { Export } from '../../src/export/export.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { NbdListener } from '../../src/server/nbd-listener.js';
import { MemoryDevice } from '../support/memory-device.js';
import { ampleLimits } from '../support/nbd-limits.js';
import { openPolicy } from '../support/open-access.js';
import type { Random } from '../support/random.js';
import { VolatileDisk } from './volatile-disk.js';

/** A medium in memory. Each guest gets it through a new volatile cache. */
export class DiskServer {
  private readonly registry = new ExportRegistry(async ({ name }) => {
    const bitmaps = new BitmapSet(this.medium.sizeBytes);
    return new Export({ name, description: '', path: 'memory', readOnly: false, disk: this.disk, bitmaps });
  });
  private disk: VolatileDisk;
  private powerUps = 0;

  private constructor(
    private readonly medium: MemoryDevice,
    private readonly socket: string,
    private readonly random: Random,
  ) {
    this.disk = new VolatileDisk(medium, random);
  }

  /** Serves the content of an image on a socket in `folder`, until the test is over. */
  static async start(image: string, folder: string, random: Random): Promise<DiskServer> {
    const content = readFileSync(image);
    const medium = new MemoryDevice(content.length);
    medium.writeNow(content, 0, content.length, 0);
    const server = new DiskServer(medium, join(folder, 'disk.sock'), random);
    const listener = new NbdListener({
      exports: server.registry,
      policy: openPolicy,
      log: silentLog,
      limits: ampleLimits,
    });
    await listener.listenUnix(server.socket);
    onTestFinished(async () => {
      await listener.drain();
      await server.registry.close();
    });
    return server;
  }

  /** Late requests of the last guest cannot reach the new disk. Returns its NBD URI. */
  async powerUp(): Promise<{ disk: VolatileDisk; uri: string }> {
    this.disk = new VolatileDisk(this.medium, this.random);
    const name = `disk${this.powerUps++}`;
    await this.registry.add({ name, path: 'memory' });
    return { disk: this.disk, uri: `nbd+unix:///${name}?socket=${this.socket}` };
  }
}
