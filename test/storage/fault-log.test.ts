import { describe, expect, it } from 'vitest';
import { EIO, ENOSPC } from '../../src/base/errno.js';
import { LogLimit } from '../../src/base/log-limit.js';
import { FaultLog } from '../../src/storage/file/fault-log.js';
import { keepLog } from '../support/log-lines.js';

describe('the log of faults', () => {
  it('describes the cause, adds the facts, and returns the errno', () => {
    const { log, lines } = keepLog();
    expect(new FaultLog(log, '/images/a.raw').report('write', ENOSPC)).toBe(ENOSPC);
    expect(lines).toEqual([
      {
        level: 'error',
        fields: { image: '/images/a.raw', operation: 'write', errno: 'ENOSPC', sinceLast: 0 },
        message: 'write failed: no space is left on the storage of the image',
      },
    ]);
  });

  it('logs a kind of failure once a minute, with the number of failures in between', () => {
    const { log, lines } = keepLog();
    let nowMs = 0;
    const faults = new FaultLog(log, '/images/a.raw', new LogLimit(() => nowMs));
    for (let count = 0; count < 1000; count++) faults.report('read', EIO);
    expect(lines).toHaveLength(1);
    nowMs += 60_000;
    faults.report('read', EIO);
    expect(lines.map(({ fields }) => fields)).toMatchObject([{ sinceLast: 0 }, { sinceLast: 999 }]);
  });

  it('logs another kind of failure at once', () => {
    const { log, lines } = keepLog();
    const faults = new FaultLog(log, '/images/a.raw');
    faults.report('read', EIO);
    faults.report('write', EIO);
    faults.report('write', ENOSPC);
    faults.report('write', ENOSPC, 'something else');
    expect(lines).toHaveLength(4);
  });
});
