import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Histogram, type Registry } from 'prom-client';
import { type ExportHeldBack, HELD_BACK_CHANNEL } from '../export/cut.js';
import type { ExportRegistry } from '../export/registry.js';

/** From delays that nobody notices to those that a guest reports as a hanging disk. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Starts to measure how long writes to the exports are held back. Returns the function that stops it. */
export function measureHeldWrites(exports: ExportRegistry, registry: Registry): () => void {
  const measured = new Set<string>();
  const histogram = new Histogram({
    name: 'tidemark_export_held_write_seconds',
    help: 'Time that a write waited for a change of bitmaps',
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
    const { served, milliseconds } = message as ExportHeldBack;
    // All servers in this process share the channel.
    if (!exports.list().includes(served)) return;
    measured.add(served.name);
    for (const one of milliseconds) histogram.observe({ export: served.name }, one / 1000);
  };
  subscribe(HELD_BACK_CHANNEL, note);
  return () => unsubscribe(HELD_BACK_CHANNEL, note);
}
