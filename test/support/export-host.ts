import { silentLog } from '../../src/base/log.js';
import type { KeyValueStore } from '../../src/bitmap/store/key-value-store.js';
import type { DiskClaims } from '../../src/server/disk-claims.js';
import type { ExportHost } from '../../src/server/prepare-export.js';
import { native } from './scratch-device.js';

/** A host for exports in tests that need no server. */
export function exportHost(store: KeyValueStore | undefined, claims?: DiskClaims): ExportHost {
  const persistence = { transient: false, onBitmapError: 'refuse', regionBytes: 2 ** 20, maxActiveRegions: 9 } as const;
  return {
    store,
    persistence: { ...persistence, coolAfterSeconds: 5 },
    posix: native,
    ...(claims && { claims }),
    log: silentLog,
  };
}
