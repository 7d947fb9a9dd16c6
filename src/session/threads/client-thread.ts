import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import type { Log, LogLine } from '../../base/log.js';
import type { AskOwner } from '../../export/elsewhere/asked-device.js';
import type { DiskAnswer } from '../../export/elsewhere/disk-calls.js';
import { loadPosix } from '../../posix/posix.js';
import { TlsDoor } from '../../tls/door.js';
import { BusyPoller } from '../busy-poller.js';
import { BusyThreads } from '../busy-threads.js';
import type { Link } from '../link.js';
import { MemoryBudget } from '../memory-budget.js';
import { PassClock } from '../pass-clock.js';
import { PiecePool } from '../piece-pool.js';
import { MessageBatch } from './message-batch.js';
import { type ClosedClient, SecuredClient } from './secured-client.js';
import { serveClient, type ThreadHost, transmitOver } from './served-client.js';
import type { ClientDescriptor, ClientToServe, FromThread, ThreadData, ToThread } from './thread-messages.js';

/** The start of a thread that serves clients. */

const { slot, busyPollMicroseconds, servedTimes, memoryBudgetBytes, memoryParts } = workerData as ThreadData;
let { logLevel } = workerData as ThreadData;
const port = parentPort!;
const toOwner = new MessageBatch<FromThread>(port);
const clock = new PassClock();
const host: ThreadHost = {
  slot,
  posix: loadPosix(),
  pool: new PiecePool(),
  memory: new MemoryBudget(memoryBudgetBytes, undefined, { ...memoryParts, index: slot + 1 }),
  busyPoller: new BusyPoller(busyPollMicroseconds, new BusyThreads(servedTimes, slot + 1), () => clock.now() * 1e6),
  clock,
  log: logToOwner(),
  door: undefined,
};
const links = new Map<number, Link | SecuredClient>();
const questions = new Map<number, (answer: DiskAnswer) => void>();
let lastQuestion = 0;

port.on('message', (messages: readonly ToThread[]) => {
  for (const message of messages) take(message);
});

function take(message: ToThread): void {
  switch (message.kind) {
    case 'serve':
      serve(message.client);
      return;
    case 'secure':
      secure(message.client);
      return;
    case 'haggled':
      securedClient(message.client)?.answer(message);
      return;
    case 'begin': {
      const { id } = message.client;
      const link = securedClient(id)?.finish(message);
      if (link) transmitOver(link, message.client, host, askerFor(id));
      return;
    }
    case 'stop':
      links.get(message.client)?.stop(message.reason);
      return;
    case 'cut':
      links.get(message.client)?.cut(message.reason);
      return;
    case 'tls':
      if (host.door) host.door.use(message.settings);
      else host.door = new TlsDoor(message.settings, message.handshakeMilliseconds);
      return;
    case 'log-level':
      logLevel = message.level;
      return;
    case 'answer':
      questions.get(message.question)!(message.answer);
      questions.delete(message.question);
      return;
    case 'end':
      // The thread ends when its port is closed, because nothing else keeps it running.
      port.close();
  }
}

function askerFor(client: number): AskOwner {
  return (call, owned) => {
    const question = ++lastQuestion;
    toOwner.send({ kind: 'ask', client, question, call }, owned);
    return new Promise((resolve) => questions.set(question, resolve));
  };
}

function serve(client: ClientToServe): void {
  const link = serveClient(client, host, askerFor(client.id));
  links.set(client.id, link);
  void link.closed.then((reason) => forget(client.id, { reason }));
}

function secure(client: ClientDescriptor): void {
  const { door } = host;
  assert(door !== undefined, 'the settings come before the clients');
  Atomics.store(client.taken, 0, 1);
  const secured = SecuredClient.over(client, { ...host, door }, (message, owned) => toOwner.send(message, owned));
  links.set(client.id, secured);
  void secured.closed.then((closed) => forget(client.id, closed));
}

/** Undefined if it has gone. */
function securedClient(id: number): SecuredClient | undefined {
  const client = links.get(id);
  return client instanceof SecuredClient ? client : undefined;
}

function forget(client: number, closed: ClosedClient): void {
  links.delete(client);
  toOwner.send({ kind: 'closed', client, ...closed });
}

function logToOwner(): Log {
  const line =
    (level: Exclude<keyof Log, 'level'>): LogLine =>
    (fields, message) =>
      toOwner.send({ kind: 'log', level, fields, message });
  const lines = { trace: line('trace'), debug: line('debug') };
  return {
    get level() {
      return logLevel;
    },
    trace: (fields, message) => {
      if (logLevel === 'trace') lines.trace(fields, message);
    },
    debug: (fields, message) => {
      if (logLevel !== 'info') lines.debug(fields, message);
    },
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  };
}
