import { errnoName } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { AccountingMemory } from '../export/accounting/accounting-memory.js';
import type { Request } from '../protocol/request.js';
import { type BrokenRule, commandName } from '../protocol/validate-request.js';
import type { Agreement } from './agreement.js';
import type { Link } from './link.js';
import { Recorder } from './recorder.js';
import { Transmission } from './transmission.js';

/** The transmission phase over a link, in whichever thread has it. */
export function transmissionOver(
  link: Link,
  agreement: Agreement,
  log: Log,
  connection: number,
  accounting: AccountingMemory,
): Transmission {
  const events = {
    onProgress: () => link.advance(),
    isGivenUp: () => link.isGivenUp,
    onBug: (bug: unknown) => link.noteBug(bug),
    onRefused: ({ command, flags, offset, length }: Request, { error, sentence }: BrokenRule) => {
      const request = { command: commandName(command), flags, offset, length };
      log.debug({ connection, ...request, error: errnoName(error) }, `refused a request: ${sentence}`);
    },
  };
  return new Transmission(agreement, link.output, link.memory, events, new Recorder(accounting));
}
