import { Counter, Gauge, type Registry } from 'prom-client';
import type { ControlHost } from './control-host.js';

/** Metrics of hooks, whose values are read when somebody asks for them. */
export function collectHookMetrics({ hooks }: ControlHost, registry: Registry): void {
  const registers = [registry];
  new Counter({
    name: 'tidemark_hook_deliveries_total',
    help: 'Events that were sent to a hook, that it could not be told of after all tries, and that were dropped because too many waited',
    labelNames: ['hook', 'outcome'],
    registers,
    collect() {
      this.reset();
      for (const { hook, delivered, failed, dropped } of hooks.counts()) {
        this.inc({ hook, outcome: 'delivered' }, delivered);
        this.inc({ hook, outcome: 'failed' }, failed);
        this.inc({ hook, outcome: 'dropped' }, dropped);
      }
    },
  });
  new Gauge({
    name: 'tidemark_hook_queue_length',
    help: 'Events that are not yet sent to a hook',
    labelNames: ['hook'],
    registers,
    collect() {
      this.reset();
      for (const { hook, queued } of hooks.counts()) this.set({ hook }, queued);
    },
  });
}
