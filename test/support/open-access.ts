import { Access, openRules, Policy } from '../../src/access/access.js';
import { operator } from '../../src/access/identity.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import { SeenExports } from '../../src/export/seen-exports.js';

/** Lets everybody do everything. */
export const openPolicy = new Policy(openRules);

/** The exports as somebody sees them who may do everything. */
export function allSeen(registry: ExportRegistry): SeenExports {
  return new SeenExports(registry, new Access(openPolicy, operator));
}
