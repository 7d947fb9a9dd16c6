import { Gauge, type Registry } from 'prom-client';
import type { ControlHost } from './control-host.js';

const MILLISECONDS_PER_SECOND = 1000;

/** Metrics of backups, whose values are read when somebody asks for them. */
export function collectBackupMetrics({ backups }: ControlHost, registry: Registry): void {
  const registers = [registry];
  const active = () => backups.list().filter(({ state }) => state === 'active');
  new Gauge({
    name: 'tidemark_backups_active',
    help: 'Number of active backups',
    registers,
    collect() {
      this.set(active().length);
    },
  });
  new Gauge({
    name: 'tidemark_backup_scratch_bytes',
    help: 'Size of the old data kept for the views of a backup',
    labelNames: ['backup'],
    registers,
    collect() {
      this.reset();
      for (const { id } of active()) this.set({ backup: id }, backups.running(id)?.scratchBytes ?? 0);
    },
  });
  new Gauge({
    name: 'tidemark_backup_last_commit_timestamp_seconds',
    help: 'Time of the last committed backup that used the bitmap',
    labelNames: ['export', 'bitmap'],
    registers,
    collect() {
      this.reset();
      // The list begins with the oldest, so the newest commit wins.
      for (const { state, bitmap, parts, endedAt } of backups.list()) {
        if (state !== 'committed') continue;
        const seconds = Date.parse(endedAt!) / MILLISECONDS_PER_SECOND;
        for (const part of parts) this.set({ export: part.export, bitmap }, seconds);
      }
    },
  });
}
