import { Access, Policy } from '../../src/access/access.js';
import { AccessRules } from '../../src/access/access-rules.js';
import { operator } from '../../src/access/identity.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import { SeenExports } from '../../src/export/seen-exports.js';

/** Without rules: every NBD client on this machine may do everything. */
export const openPolicy = new Policy(new AccessRules([]));

/** The exports as somebody sees them who may do everything. */
export function allSeen(registry: ExportRegistry): SeenExports {
  return new SeenExports(registry, new Access(openPolicy, operator));
}
