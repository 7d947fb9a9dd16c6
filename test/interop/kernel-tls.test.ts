// Linux's own NBD client over TLS. The kernel speaks no TLS here, so nbd-client leaves a process behind for each
// connection, which passes everything on between the kernel and the server. nbd-client takes certificates, and no keys.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { changedRanges, makePatternImage } from '../guest/pattern-disk.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn } from '../support/tidemark.js';
import { TestAuthority } from '../support/tls-files.js';

const LIMIT_MILLISECONDS = 170_000;
const BLOB_MEBIBYTES = 4;

let guest: NbdGuest;

beforeAll(async () => {
  guest = await NbdGuest.start();
  await guest.run(`dd if=/dev/urandom of=/tmp/blob bs=1M count=${BLOB_MEBIBYTES}`);
}, LIMIT_MILLISECONDS);
afterAll(() => guest?.kill());

/** A server that shows its disk to the guest, and opens it to a certificate with the name `guest`. */
async function serve() {
  const authority = await TestAuthority.create();
  const image = makePatternImage(16 * MIB);
  const server = await startTidemarkIn(
    scratchFolder(),
    [`disk=${image},bitmap=nightly:64K`],
    [
      ...['--tls', 'required', '--tls-certificates', await authority.serverFolder()],
      ...['--access', 'cn:guest,rights=write', '--access', 'address:127.0.0.1,rights=list'],
      // An emulated guest on a busy machine takes seconds for what TLS computes.
      ...['--handshake-timeout', '60'],
    ],
  );
  return { authority, image, server };
}

/** nbd-client's options for the authority that it trusts, and for its own certificate. */
interface ClientOptions {
  readonly trust: readonly string[];
  readonly identity: readonly string[];
}

/** Copies a client's files into the guest. Resolves to the options with which nbd-client uses them. */
async function optionsFor(folder: string): Promise<ClientOptions> {
  const place = `/tmp/${basename(folder)}`;
  await guest.run(`mkdir ${place}`);
  for (const file of readdirSync(folder)) await guest.copyIn(join(folder, file), join(place, file));
  return {
    // The server's certificate does not have the address at which the guest reaches it.
    trust: ['-cacertfile', `${place}/ca-cert.pem`, '-tlshostname', 'localhost'],
    identity: ['-certfile', `${place}/client-cert.pem`, '-keyfile', `${place}/client-key.pem`],
  };
}

/** The SHA-256 of what a command in the guest prints. */
const sumInGuest = async (command: string) => (await guest.run(`${command} | sha256sum`)).split(' ')[0];

test.each([1, 2])(
  'with a certificate it writes and reads, and exactly the writes are dirty; connections: %i',
  { timeout: LIMIT_MILLISECONDS },
  async (connections) => {
    const { authority, image, server } = await serve();
    const base = readFileSync(image);
    const folder = await authority.clientFolder('CN=guest');
    const { trust, identity } = await optionsFor(folder);
    const device = await guest.attach('disk', server.port, [
      ...[...trust, ...identity],
      ...['-connections', String(connections)],
    ]);
    const blob = await sumInGuest('cat /tmp/blob');
    // The kernel gives each processor one of the connections.
    for (const [processor, at] of [3, 11].entries()) {
      const write = `dd if=/tmp/blob of=${device} bs=1M seek=${at} oflag=direct conv=notrunc,fsync`;
      await guest.run(`taskset -c ${processor} ${write}`);
      const read = `dd if=${device} bs=1M skip=${at} count=${BLOB_MEBIBYTES} iflag=direct status=none`;
      expect(await sumInGuest(read)).toBe(blob);
    }
    await guest.run(`nbd-client -d ${device}`);

    const found = readFileSync(image);
    for (const at of [3, 11]) {
      const part = found.subarray(at * MIB, (at + BLOB_MEBIBYTES) * MIB);
      expect(createHash('sha256').update(part).digest('hex'), `at ${at} MiB`).toBe(blob);
    }
    const dirty = await dirtyRanges(`nbds://localhost:${server.port}/disk?tls-certificates=${folder}`, 'nightly');
    expect(dirty).toEqual([3, 11].map((at) => ({ offset: at * MIB, length: BLOB_MEBIBYTES * MIB })));
    expect(changedRanges(base, found)).toEqual(dirty);
    const writers = () => server.output().match(/"bytesWritten":[1-9].*"tls":"TLSv1\.2"/g);
    await expect.poll(writers).toHaveLength(connections);
  },
);

type Attempt = (own: ClientOptions, stranger: ClientOptions) => readonly string[];

test.each<[string, Attempt, RegExp, string]>([
  ['without TLS', () => [], /this server requires TLS/, 'it did not use TLS'],
  [
    'without a certificate',
    ({ trust }) => trust,
    /127\.0\.0\.1 may not read "disk"/,
    '127.0.0.1 has list, but not read',
  ],
  [
    'with a certificate that has no right',
    ({ trust, identity }) => [...trust, ...identity],
    /CN=other \(127\.0\.0\.1\) may not read "disk"/,
    'CN=other (127.0.0.1) has list, but not read',
  ],
  [
    'with a certificate of another authority',
    ({ trust }, { identity }) => [...trust, ...identity],
    // It does not notice that TLS has ended, and reads on.
    /invalid negotiation magic|Server closed connection|Read failed/,
    "the certificate CN=guest is not from this server's authority",
  ],
])('%s it is refused', { timeout: LIMIT_MILLISECONDS }, async (_how, attempt, answer, reason) => {
  const { authority, server } = await serve();
  const own = await optionsFor(await authority.clientFolder('CN=other'));
  const stranger = await optionsFor(await (await TestAuthority.create()).clientFolder('CN=guest'));
  await expect(guest.attach('disk', server.port, attempt(own, stranger))).rejects.toThrow(answer);
  await expect.poll(() => server.output()).toContain(`"reason":${JSON.stringify(reason)}`);
});
