import type { NewThreshold } from '../../api/threshold.js';
import { Given } from '../../base/setting.js';
import { type ThresholdSpec, thresholdKeys, thresholdOf } from './threshold-spec.js';

/** A threshold as the API and the state directory describe it. */
export type DescribedThreshold = NewThreshold & Required<Pick<NewThreshold, 'name' | 'exports'>>;

export function describeThreshold(spec: ThresholdSpec): DescribedThreshold {
  const { name, kind } = spec;
  const common = { name, kind, exports: spec.exports.map(({ pattern }) => pattern) };
  switch (spec.kind) {
    case 'dirty': {
      const { bitmap, limit } = spec;
      return {
        ...common,
        bitmap,
        ...('bytes' in limit ? { limitBytes: limit.bytes } : { limitPercent: limit.percent }),
      };
    }
    case 'backup-age':
      return { ...common, bitmap: spec.bitmap, limitSeconds: spec.ageSeconds };
    case 'room':
      return { ...common, of: spec.of, limitBytes: spec.bytes };
  }
}

/** The threshold that is described, or what is wrong with the description. */
export function thresholdFrom(described: NewThreshold): ThresholdSpec | string {
  const { kind, name, exports = [], bitmap, limitBytes, limitPercent, limitSeconds, of } = described;
  const given: Given<typeof thresholdKeys> = new Given(thresholdKeys);
  const values: Readonly<Record<keyof typeof thresholdKeys, readonly unknown[]>> = {
    kind: [kind],
    name: [name],
    // Room of state and scratch is about no exports.
    exports: kind === 'room' && of !== 'disk' ? [] : exports,
    bitmap: [bitmap],
    size: [limitBytes],
    share: [limitPercent],
    age: [limitSeconds === undefined ? undefined : `${limitSeconds}s`],
    of: [of],
  };
  for (const key of Object.keys(values) as (keyof typeof thresholdKeys)[]) {
    for (const value of values[key]) {
      if (value === undefined || given.read(key, value)) continue;
      return `"${value}" is not ${thresholdKeys[key].expected}`;
    }
  }
  return thresholdOf(given);
}
