import type { Backup } from './backup.js';
import type { ScratchDirectory } from './scratch-directory.js';

/** Fill levels of a backup's scratch space to report, in per cent. */
const LEVELS = [50, 80, 95];

/** Reports when the scratch space of a backup fills up, once for each level. */
export class ScratchWatch {
  private readonly reached = new WeakMap<Backup, number>();

  constructor(
    private readonly directory: ScratchDirectory,
    private readonly tell: (backup: Backup, percent: number) => void,
  ) {}

  async tick(backups: readonly Backup[]): Promise<void> {
    if (backups.length === 0) return;
    const freeBytes = await this.directory.freeBytes();
    for (const backup of backups) {
      const { scratchBytes, scratchLimitBytes } = backup;
      const room = Math.min(scratchLimitBytes, scratchBytes + freeBytes);
      const level = LEVELS.findLast((percent) => scratchBytes * 100 >= room * percent) ?? 0;
      if (scratchBytes === 0 || level <= (this.reached.get(backup) ?? 0)) continue;
      this.reached.set(backup, level);
      this.tell(backup, level);
    }
  }
}
