import { type Errno, errnoName, OK } from '../base/errno.js';
import { isTraced, type Log } from '../base/log.js';
import type { AccountingMemory } from '../export/accounting/accounting-memory.js';
import type { Request } from '../protocol/request.js';
import { commandName, cookieText, flagNames } from '../protocol/request-names.js';
import type { BrokenRule } from '../protocol/validate-request.js';
import type { Agreement } from './agreement.js';
import type { Link } from './link.js';
import { Recorder } from './recorder.js';
import { Transmission, type TransmissionEvents } from './transmission.js';

/** The transmission phase over a link, in whichever thread has it. */
export function transmissionOver(
  link: Link,
  agreement: Agreement,
  log: Log,
  connection: number,
  accounting: AccountingMemory,
): Transmission {
  const { name } = agreement.export;
  const about = (request: Request) => ({ export: name, connection, ...fieldsOf(request) });
  const trace = (request: Request, errno: Errno, milliseconds: number) => {
    const error = errno === OK ? {} : { error: errnoName(errno) };
    log.trace({ ...about(request), ...error, milliseconds }, commandName(request.command));
  };
  const events: TransmissionEvents = {
    onProgress: () => link.advance(),
    isGivenUp: () => link.isGivenUp,
    onBug: (bug) => link.noteBug(bug),
    onRefused: (request: Request, { error, sentence }: BrokenRule) =>
      log.debug({ ...about(request), error: errnoName(error) }, `refused a request: ${sentence}`),
    get trace() {
      return isTraced(log) ? trace : undefined;
    },
  };
  return new Transmission(agreement, link.output, link.memory, events, new Recorder(accounting, link.clock));
}

function fieldsOf(request: Request) {
  const { command, offset, length, flags } = request;
  return { command: commandName(command), offset, length, flags: flagNames(flags), cookie: cookieText(request) };
}
