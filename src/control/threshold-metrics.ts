import { Counter, Gauge, type Registry } from 'prom-client';
import type { ControlHost } from './control-host.js';

/** Metrics of thresholds, whose values are read when somebody asks for them. */
export function collectThresholdMetrics({ thresholds }: ControlHost, registry: Registry): void {
  const common = { labelNames: ['threshold'], registers: [registry] };
  new Gauge({
    name: 'tidemark_threshold_crossed',
    help: 'In how many places the threshold is crossed; for room of state or scratch 0 or 1, otherwise the exports',
    ...common,
    collect() {
      this.reset();
      for (const { spec, crossings } of thresholds.list()) this.set({ threshold: spec.name }, crossings.length);
    },
  });
  new Counter({
    name: 'tidemark_thresholds_crossed_total',
    help: 'How often the threshold was crossed since the server started',
    ...common,
    collect() {
      this.reset();
      for (const { spec, count } of thresholds.list()) this.inc({ threshold: spec.name }, count);
    },
  });
}
