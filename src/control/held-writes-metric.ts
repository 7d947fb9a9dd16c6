import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Histogram, type Registry } from 'prom-client';
import { CUT_CHANNEL, type Cut } from '../export/cut.js';
import type { ExportRegistry } from '../export/registry.js';

/** From what nobody notices to what a guest calls a hanging disk. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Counts how long writes to some exports are held back, from now on. Returns what ends it. */
export function measureHeldWrites(exports: ExportRegistry, registry: Registry): () => void {
  const measured = new Set<string>();
  const histogram = new Histogram({
    name: 'tidemark_export_held_write_seconds',
    help: 'How long a write was held back by a change of bitmaps',
    labelNames: ['export'],
    buckets: BUCKETS_SECONDS,
    registers: [registry],
    collect() {
      const served = new Set(exports.list().map(({ name }) => name));
      for (const name of [...measured].filter((one) => !served.has(one))) {
        measured.delete(name);
        this.remove({ export: name });
      }
    },
  });
  const note = (message: unknown) => {
    const { served, heldMilliseconds } = message as Cut;
    // The channel is the process's; there may be other servers in it.
    if (!exports.list().includes(served)) return;
    measured.add(served.name);
    for (const milliseconds of heldMilliseconds) histogram.observe({ export: served.name }, milliseconds / 1000);
  };
  subscribe(CUT_CHANNEL, note);
  return () => unsubscribe(CUT_CHANNEL, note);
}
