import { Gauge, type Registry } from 'prom-client';
import type { ControlHost } from './control-host.js';

const MILLISECONDS_PER_SECOND = 1000;

/** What is to be known of backups, read off them when it is asked for. */
export function collectBackupMetrics({ backups }: ControlHost, registry: Registry): void {
  const registers = [registry];
  const active = () => backups.list().filter(({ state }) => state === 'active');
  new Gauge({
    name: 'tidemark_backups_active',
    help: 'Backups under way',
    registers,
    collect() {
      this.set(active().length);
    },
  });
  new Gauge({
    name: 'tidemark_backup_scratch_bytes',
    help: 'Old data kept for the views of a backup',
    labelNames: ['backup'],
    registers,
    collect() {
      this.reset();
      for (const { id } of active()) this.set({ backup: id }, backups.running(id)?.scratchBytes ?? 0);
    },
  });
  new Gauge({
    name: 'tidemark_backup_last_commit_timestamp_seconds',
    help: 'When the last backup with a bitmap was committed',
    labelNames: ['export', 'bitmap'],
    registers,
    collect() {
      this.reset();
      // Oldest first, so the last one stays.
      for (const { state, bitmap, parts, endedAt } of backups.list()) {
        if (state !== 'committed') continue;
        const seconds = Date.parse(endedAt!) / MILLISECONDS_PER_SECOND;
        for (const part of parts) this.set({ export: part.export, bitmap }, seconds);
      }
    },
  });
}
