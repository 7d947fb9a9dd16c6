import { afterEach, expect, test, vi } from 'vitest';
import { formatLocalTime } from '../../src/base/local-time.js';

afterEach(() => vi.unstubAllEnvs());

test.each([
  ['UTC', '2026-01-04T05:06:07.089Z', '2026-01-04 05:06:07'],
  ['Asia/Tokyo', '2026-12-31T23:00:00.000Z', '2027-01-01 08:00:00'],
  ['Asia/Tokyo', '2026-12-31T23:00:00+09:00', '2026-12-31 23:00:00'],
  ['UTC', 'yesterday', 'yesterday'],
])('in %s, %s is shown as %s', (zone, time, shown) => {
  vi.stubEnv('TZ', zone);
  expect(formatLocalTime(time)).toBe(shown);
});
