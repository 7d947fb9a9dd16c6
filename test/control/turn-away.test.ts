import { EventEmitter } from 'node:events';
import { Server, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Refusals } from '../../src/access/refusals.js';
import { silentLog } from '../../src/base/log.js';
import { turnAway } from '../../src/control/admission/turn-away.js';
import { httpLimits } from '../../src/control/http-server.js';

class Caller extends EventEmitter {
  destroyed = false;
  constructor(readonly remoteAddress: string) {
    super();
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

/** A server that lets two connections of one client in, and logs. */
function serverWithLimit() {
  const server = new Server();
  const [letIn, logged]: [Socket[], unknown[][]] = [[], []];
  server.on('connection', (socket) => letIn.push(socket));
  const log = { ...silentLog, warn: (...line: unknown[]) => logged.push(line) };
  turnAway(server, { ...httpLimits, maxConnectionsEach: 2 }, { refusals: new Refusals(log), log });
  const call = (address: string) => {
    const caller = new Caller(address);
    server.emit('connection', caller as unknown as Socket);
    return caller;
  };
  return { call, letIn, logged };
}

test('one client has a share of the connections, and gets a place back when one of them closes', () => {
  const { call, letIn, logged } = serverWithLimit();
  const [first] = [call('::ffff:10.0.0.7'), call('10.0.0.7')];
  expect(call('10.0.0.7').destroyed).toBe(true);
  expect(call('10.0.0.7').destroyed).toBe(true);
  expect(call('10.0.0.8').destroyed).toBe(false);
  expect(letIn).toHaveLength(3);
  expect(logged).toEqual([
    [
      { client: '10.0.0.7', maxConnectionsEach: 2, sinceLast: expect.anything() },
      'the control API hung up on a client: it has too many connections',
    ],
  ]);
  first!.destroy();
  expect(call('10.0.0.7').destroyed).toBe(false);
  expect(call('10.0.0.7').destroyed).toBe(true);
});

test('the addresses of one IPv6 network share one limit', () => {
  const { call } = serverWithLimit();
  const addresses = ['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1', '2001:db8::3'];
  expect(addresses.map((address) => call(address).destroyed)).toEqual([false, false, false, true]);
});

test('the users of this machine have no limit of this kind', () => {
  const { call } = serverWithLimit();
  expect(['127.0.0.1', '127.0.0.1', '127.0.0.1', '::1'].map((address) => call(address).destroyed)).not.toContain(true);
});
