import { CodedError } from '../base/coded-error.js';
import { checkTexts } from '../export/export-spec.js';
import type { WantedExport } from '../export/registry.js';
import { checkTlsOf } from './prepare-export.js';

/** Checks the exports of a configuration before any is opened. @throws CodedError EXPORT_EXISTS, EXPORT_INVALID */
export function checkExports(wanted: readonly WantedExport[], hasTls: boolean): void {
  const names = new Set<string>();
  for (const { spec } of wanted) {
    checkTexts(spec);
    checkTlsOf(spec, hasTls);
    if (names.has(spec.name)) {
      const hint = 'choose another name for one of them';
      throw new CodedError('EXPORT_EXISTS', `the configuration has two exports "${spec.name}"`, hint);
    }
    names.add(spec.name);
  }
}
