import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadPosix } from '../../src/posix/posix.js';
import * as nbd from '../../src/protocol/constants.js';
import { peerOf, stdioPeer } from '../../src/server/peer.js';
import { rulesOf } from '../support/access-rules.js';
import { serveKnownClients } from '../support/known-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';
import { encodeOption, encodeRequest, infoData, u32 } from '../support/raw-client.js';
import { scratchFolder } from '../support/scratch-folder.js';

const posix = loadPosix();

/** Both ends of a connection to a socket that listens there. */
async function connection(place: { path: string } | { host: string; port: number }) {
  const server = createServer({ pauseOnConnect: true });
  server.listen(place);
  await once(server, 'listening');
  const address = server.address() as AddressInfo | string;
  const accepting = once(server, 'connection') as Promise<[Socket]>;
  const client = typeof address === 'string' ? connect(address) : connect(address.port, address.address);
  client.on('error', () => {});
  const [accepted] = await accepting;
  onTestFinished(() => {
    client.destroy();
    accepted.destroy();
    server.close();
  });
  return { client, accepted };
}

const unixConnection = () => connection({ path: join(scratchFolder(), 'peer.sock') });

test('a client of a unix socket is the user and the groups of its process', async () => {
  const { accepted } = await unixConnection();
  const peer = peerOf(accepted, posix)!;
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  expect(peer).toMatchObject({ client: 'unix', origin: `unix:${uid}` });
  expect(peer.identity).toMatchObject({ over: 'nbd', from: { kind: 'unix' }, encrypted: false, unix: { uid, gid } });
  const others = process.getgroups!().filter((group) => group !== gid);
  expect(peer.identity.unix!.groups).toEqual(expect.arrayContaining(others));
});

test('without native calls the user is not known, but the client is still one of this machine', async () => {
  const { accepted } = await unixConnection();
  expect(peerOf(accepted, undefined)).toEqual({
    client: 'unix',
    origin: 'unix',
    identity: { over: 'nbd', from: { kind: 'unix' }, encrypted: false, unix: undefined },
  });
});

test('a TCP socket has no user', async () => {
  const { accepted } = await connection({ host: '127.0.0.1', port: 0 });
  const { fd } = (accepted as unknown as { _handle: { fd: number } })._handle;
  expect(posix?.peerOfNow(fd)).toBeUndefined();
  expect(peerOf(accepted, posix)!.identity).toEqual({
    over: 'nbd',
    from: { kind: 'tcp', address: '127.0.0.1' },
    encrypted: false,
  });
});

test('a client that has gone is never taken for one of a unix socket', async () => {
  const { client, accepted } = await connection({ host: '127.0.0.1', port: 0 });
  client.resetAndDestroy();
  await once(client, 'close');
  expect(peerOf(accepted, posix)).toBeUndefined();
  expect(stdioPeer(accepted, posix)).toBeUndefined();
});

test('what a client has sent before it reset the connection does not reach the disk', async () => {
  const device = new MemoryDevice(DISK_BYTES);
  const exports = await memoryRegistry([{ name: 'disk', device }]);
  const { listener } = await serveKnownClients(exports, rulesOf());
  const { client, accepted } = await connection({ host: '127.0.0.1', port: 0 });
  client.write(u32(nbd.HandshakeFlag.FIXED_NEWSTYLE | nbd.HandshakeFlag.NO_ZEROES));
  client.write(encodeOption(nbd.Option.GO, infoData('disk')));
  const write = encodeRequest({ command: nbd.Command.WRITE, payload: Buffer.alloc(512, 7) });
  await new Promise<void>((resolve) => client.write(write, () => resolve()));
  client.resetAndDestroy();
  await once(client, 'close');
  await listener.adopt(accepted);
  const bytes = Buffer.alloc(512);
  device.readNow(bytes, 0, 512, 0);
  expect(bytes.equals(Buffer.alloc(512))).toBe(true);
  expect([accepted.destroyed, listener.connectionCount]).toEqual([true, 0]);
});

test('the client on stdin and stdout may do everything, unless it comes from a network', async () => {
  const local = await unixConnection();
  expect(stdioPeer(local.accepted, posix)!.identity.operator).toBe(true);
  const far = Object.create(new Socket(), { remoteAddress: { value: '10.0.0.7' }, remotePort: { value: 5 } }) as Socket;
  expect(stdioPeer(far, posix)!.identity).toEqual({
    over: 'nbd',
    from: { kind: 'tcp', address: '10.0.0.7' },
    encrypted: false,
  });
});

test.each([
  ['10.0.0.7', '10.0.0.7'],
  ['::ffff:10.0.0.7', '10.0.0.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['::1', '::1'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1::', '1:0:0:0::/64'],
])('what comes from %s counts as %s', (remoteAddress, origin) => {
  const socket = Object.create(new Socket(), { remoteAddress: { value: remoteAddress }, remotePort: { value: 5 } });
  expect(peerOf(socket as Socket, posix)!.origin).toBe(origin);
});
