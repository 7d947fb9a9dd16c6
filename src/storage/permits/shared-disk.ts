import type { PermitMemory } from './permit-memory.js';

/** What another thread needs in order to read a disk, and to write what it is permitted to write. */
export interface SharedDisk {
  /** For people, in messages. */
  readonly path: string;
  /** Open as long as a client is connected to the disk. */
  readonly fd: number;
  /** As in `ImageFile`. */
  readonly inMemory: boolean;
  readonly endsWithin: number | undefined;
  readonly permits: PermitMemory;
}
