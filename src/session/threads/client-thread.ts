import { parentPort, workerData } from 'node:worker_threads';
import type { Log, LogLine } from '../../base/log.js';
import type { DiskAnswer } from '../../export/elsewhere/disk-calls.js';
import type { AskOwner } from '../../export/elsewhere/remote-device.js';
import { loadPosix } from '../../posix/posix.js';
import { BusyPoller } from '../busy-poller.js';
import { BusyThreads } from '../busy-threads.js';
import type { Link } from '../link.js';
import { MemoryBudget } from '../memory-budget.js';
import { PiecePool } from '../piece-pool.js';
import { MessageBatch } from './message-batch.js';
import { serveClient, type ThreadHost } from './served-client.js';
import type { ClientToServe, FromThread, ThreadData, ToThread } from './thread-messages.js';

/** The start of a thread that serves clients. */

const { slot, busyPollMicroseconds, servedTimes, logsDebug, memoryBudgetBytes, memoryParts } = workerData as ThreadData;
const port = parentPort!;
const toOwner = new MessageBatch<FromThread>(port);
const host: ThreadHost = {
  slot,
  posix: loadPosix(),
  pool: new PiecePool(),
  memory: new MemoryBudget(memoryBudgetBytes, undefined, { ...memoryParts, index: slot + 1 }),
  busyPoller: new BusyPoller(busyPollMicroseconds, new BusyThreads(servedTimes, slot + 1)),
  log: logToOwner(),
};
const links = new Map<number, Link>();
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
    case 'stop':
      links.get(message.client)?.stop(message.reason);
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

function serve(client: ClientToServe): void {
  const { id } = client;
  const ask: AskOwner = (call, owned) => {
    const question = ++lastQuestion;
    toOwner.send({ kind: 'ask', client: id, question, call }, owned);
    return new Promise((resolve) => questions.set(question, resolve));
  };
  const link = serveClient(client, host, ask);
  links.set(id, link);
  void link.closed.then((reason) => {
    links.delete(id);
    toOwner.send({ kind: 'closed', client: id, reason });
  });
}

function logToOwner(): Log {
  const line =
    (level: Exclude<keyof Log, 'level'>): LogLine =>
    (fields, message) =>
      toOwner.send({ kind: 'log', level, fields, message });
  const debug = logsDebug ? line('debug') : () => {};
  return { debug, info: line('info'), warn: line('warn'), error: line('error') };
}
