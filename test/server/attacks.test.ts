import { readFileSync } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { NbdClient } from '../../src/client/nbd-client.js';
import * as nbd from '../../src/protocol/constants.js';
import { ATTACKER, AttackedServer, type Mode } from '../support/attacked-server.js';
import { answerTo, around, askApi, command, nameOf, restOf, talk } from '../support/attacker.js';
import { makeImage } from '../support/image.js';
import { encodeOption, infoData, metaData, type RawClient, u32 } from '../support/raw-client.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';
import { type CertificateWish, inDays, TestAuthority, writeFolder } from '../support/tls-files.js';
import { said, twoMachines } from '../support/two-machines.js';

const { Command, Option, NbdError } = nbd;

const modes: readonly Mode[] = ['required', 'optional'];
const doors = ['NBD', 'NBD in another thread', 'HTTPS'] as const;

const authority = await TestAuthority.create();
const strange = await TestAuthority.create('strange');

/** A certificate, and what a client does with it. */
async function issue(name: string, wish: Partial<CertificateWish> = {}, by = authority) {
  const { certificate, key, serial } = await by.issue({ subject: `CN=${name}`, purpose: 'client', ...wish });
  return { serial, tls: { ca: authority.certificate, cert: certificate, key } satisfies ConnectionOptions };
}

const [good, reader, lister] = [await issue('good'), await issue('reader'), await issue('lister')];
const [stranger, lost, eve] = [await issue('stranger'), await issue('lost'), await issue('eve', {}, strange)];
const old = await issue('old', { notBefore: inDays(-3), notAfter: inDays(-2) });
const young = await issue('young', { notBefore: inDays(1) });
const wrongUse = await issue('server', { purpose: 'server' });
const anybody = { ca: authority.certificate } satisfies ConnectionOptions;

const withKey = (identity: string): ConnectionOptions => ({
  ciphers: 'TLS_AES_128_GCM_SHA256',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ identity, psk: Buffer.alloc(32, 7) }),
});

type Both<Value> = readonly Value[] | Readonly<Record<Mode, readonly Value[]>>;

interface Expected {
  /** What the client sees, and nothing else. */
  readonly sees: Both<unknown>;
  /** What the log says about it, among other things. */
  readonly logs: Both<string | RegExp>;
}

interface Cell extends Expected {
  /** Resolves to what the client sees, one line each. */
  readonly does: (target: AttackedServer) => Promise<string[]>;
  /** It gets no further than the main thread. */
  readonly isInClear?: true;
}

interface Row {
  readonly what: string;
  readonly nbd?: Cell;
  readonly https?: Cell;
}

/** The same client with TLS at both doors. */
function withTls(what: string, tls: ConnectionOptions, overNbd: Expected, overHttps = overNbd): Row {
  return {
    what,
    nbd: { does: (target) => talk(target, (client) => client.startTls(tls)), ...overNbd },
    https: { does: (target) => askApi(target, tls), ...overHttps },
  };
}

const refusedInTls = (why: string, sees: unknown = 'closed'): Expected => ({
  sees: [sees],
  logs: [`refused a TLS handshake: ${why}`],
});

const ALERT = expect.stringMatching(/^ERR_SSL_\w*ALERT/);
const NO_TOKEN = '401 the request has no valid token';
const TLS_FIRST = 'TLS_REQD this server requires TLS: send STARTTLS first';
const unknown = (name: string) => `there is no export "${name}"`;
const sawNothing = around('ACK', 'ACK', (_, name) => `UNKNOWN ${unknown(name)}`);

const get = 'GET /v1/exports HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n';
const helloHeader = '\x16\x03\x01\x02\x00';

/** What a raw client of the API sees that sends this. */
async function sendToApi(target: AttackedServer, text: string): Promise<string[]> {
  const client = await target.dial(ATTACKER, target.httpPort);
  client.send(Buffer.from(text, 'latin1'));
  return [await restOf(client)];
}

async function askWithToken(target: AttackedServer, token: string): Promise<string[]> {
  return askApi(target, anybody, { request: { headers: { authorization: `Bearer ${token}` } } });
}

const rows: readonly Row[] = [
  {
    what: 'no TLS',
    nbd: {
      isInClear: true,
      does: talk,
      sees: {
        required: around(TLS_FIRST, TLS_FIRST, () => TLS_FIRST),
        optional: around('ACK', 'ACK', (option, name) =>
          option === 'INFO' || option === 'GO'
            ? `TLS_REQD ${unknown(name)} for clients without TLS`
            : `UNKNOWN ${unknown(name)}`,
        ),
      },
      logs: ['refused a client: it did not use TLS'],
    },
    https: {
      does: (target) => askApi(target, {}, { request: { protocol: 'http:' } }),
      sees: { required: ['closed'], optional: [NO_TOKEN] },
      logs: {
        required: ['refused a TLS handshake: the client did not speak TLS'],
        optional: ['refused a request: the client proved no identity'],
      },
    },
  },
  withTls(
    'neither a certificate nor a key',
    anybody,
    { sees: sawNothing, logs: ['refused export "disk": the client proved no identity'] },
    { sees: [NO_TOKEN], logs: ['refused a request: the client proved no identity'] },
  ),
  withTls(
    'a certificate of another authority',
    eve.tls,
    refusedInTls("the certificate CN=eve is not from this server's authority"),
  ),
  withTls('an expired certificate', old.tls, refusedInTls('the certificate CN=old expired on ')),
  withTls(
    'a certificate that is not valid yet',
    young.tls,
    refusedInTls('the certificate CN=young is not valid before '),
  ),
  withTls(
    'a revoked certificate',
    lost.tls,
    refusedInTls(`the certificate CN=lost (serial ${lost.serial}) is revoked`),
  ),
  withTls('a certificate for servers', wrongUse.tls, refusedInTls('the certificate CN=server is not for clients')),
  withTls(
    'a good certificate with a wrong name',
    stranger.tls,
    { sees: sawNothing, logs: [`refused export "disk": no rule lets CN=stranger (${ATTACKER}) see it`] },
    {
      sees: [
        '200 {"exports":[],"unserved":[]}',
        `404 ${unknown('disk')}`,
        `404 ${unknown('nowhere')}`,
        '403 this needs the right admin on all exports',
      ],
      logs: [`refused a request of CN=stranger (${ATTACKER}): no rule lets it see "disk"`],
    },
  ),
  {
    what: 'a wrong key, and an unknown user, which look the same',
    nbd: {
      does: async (target) => [
        ...new Set([
          ...(await talk(target, (client) => client.startTls(withKey('alice')))),
          ...(await talk(target, (client) => client.startTls(withKey('bob')), '127.0.0.62')),
        ]),
      ],
      ...wrongKeys(),
    },
    https: {
      does: async (target) => [
        ...new Set([
          ...(await askApi(target, withKey('alice'))),
          ...(await askApi(target, withKey('bob'), { address: '127.0.0.62' })),
        ]),
      ],
      ...wrongKeys(),
    },
  },
  {
    what: 'a wrong token',
    https: {
      does: (target) => askWithToken(target, `tm_aaaaaaaa_${'A'.repeat(43)}`),
      sees: [NO_TOKEN],
      logs: ['refused a request: unknown token'],
    },
  },
  {
    what: 'an expired token',
    https: {
      async does(target) {
        const { token, expiresAt } = await command(target, '/v1/tokens', { rights: ['admin'], ttlSeconds: 1 });
        await delay(Date.parse(expiresAt) - Date.now() + 1);
        return askWithToken(target, token);
      },
      sees: [NO_TOKEN],
      logs: [/^refused a request: token \w{8} expired on /m],
    },
  },
  {
    what: 'a right identity without the right to read',
    nbd: {
      does: (target) => talk(target, (client) => client.startTls(lister.tls)),
      sees: around('SERVER disk, ACK', 'ACK', (option, name) => {
        if (name !== 'disk') return `UNKNOWN ${unknown(name)}`;
        return option === 'INFO' ? 'INFO read-only, ACK' : `POLICY CN=lister (${ATTACKER}) may not read "disk"`;
      }),
      logs: [`refused export "disk": CN=lister (${ATTACKER}) has list, but not read`],
    },
    https: {
      does: (target) => askApi(target, lister.tls, { paths: ['/v1/exports/disk/bitmaps'] }),
      sees: ['403 this needs the right read or backup on the export "disk"'],
      logs: [`refused a request of CN=lister (${ATTACKER}): this needs the right read or backup on the export "disk"`],
    },
  },
  {
    what: 'a right identity without the rights to write and to read views',
    nbd: {
      async does(target) {
        const { id } = await command(target, '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
        const client = await target.greet();
        await client.startTls(reader.tls);
        const view = await answerTo(client, Option.GO, infoData(`disk@${id}`));
        const disk = await answerTo(client, Option.GO, infoData('disk'));
        client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 7) });
        const { error } = await client.simpleReply();
        client.close();
        return [view.replace(id, 'ID'), disk, nameOf(NbdError, error)];
      },
      sees: [`GO: UNKNOWN ${unknown('disk@ID')}`, 'GO: INFO read-only, ACK', 'EPERM'],
      logs: [
        new RegExp(`^refused export "disk@.*": no rule lets CN=reader \\(${ATTACKER}\\) see it`, 'm'),
        'connection closed: ',
      ],
    },
    https: {
      does: (target) =>
        askApi(target, reader.tls, {
          paths: ['/v1/exports/disk/bitmaps/nightly/clear'],
          request: { method: 'POST' },
        }),
      sees: ['403 this needs the right admin on the export "disk"'],
      logs: [`refused a request of CN=reader (${ATTACKER}): this needs the right admin on the export "disk"`],
    },
  },
  withTls(
    'TLS 1.1',
    { ...good.tls, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' },
    refusedInTls('the client offers only TLS versions below 1.2', ALERT),
  ),
  withTls(
    'a weak cipher',
    { ...good.tls, maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' },
    refusedInTls('the client offers no cipher that this server uses', ALERT),
  ),
  {
    what: 'plain text before TLS, in the same segment',
    nbd: {
      isInClear: true,
      async does(target) {
        const client = await target.greet();
        client.send(Buffer.concat([encodeOption(Option.STARTTLS), encodeOption(Option.GO, infoData('disk'))]));
        return [await restOf(client)];
      },
      sees: ['closed'],
      logs: ['connection closed: sent data behind STARTTLS before the answer'],
    },
    https: {
      does: (target) => sendToApi(target, get + helloHeader),
      sees: { required: ['closed'], optional: [expect.stringMatching(/^HTTP\/1\.1 4\d\d /)] },
      logs: {
        required: ['refused a TLS handshake: the client did not speak TLS'],
        optional: ['refused a request: the client proved no identity'],
      },
    },
  },
  {
    what: 'plain text where TLS has to begin',
    nbd: {
      async does(target) {
        const client = await target.greet();
        const answer = await answerTo(client, Option.STARTTLS);
        client.option(Option.GO, infoData('disk'));
        return [answer, await restOf(client)];
      },
      sees: ['STARTTLS: ACK', 'closed'],
      logs: ['refused a TLS handshake: the client did not speak TLS'],
    },
    https: {
      does: (target) => sendToApi(target, `\x16${get}`),
      sees: ['closed'],
      logs: ['refused a TLS handshake: the client did not speak TLS'],
    },
  },
  {
    what: 'agreements from before TLS, and STARTTLS that is wrong',
    nbd: {
      async does(target) {
        const client = await target.greet();
        const seen = [
          await answerTo(client, Option.STRUCTURED_REPLY),
          await answerTo(client, Option.STARTTLS, Buffer.from('data')),
        ];
        await client.startTls(good.tls);
        seen.push(
          await answerTo(client, Option.STARTTLS),
          await answerTo(client, Option.SET_META_CONTEXT, metaData('disk', ['base:allocation'])),
          await answerTo(client, Option.GO, infoData('disk')),
        );
        client.request({ command: Command.BLOCK_STATUS, length: 4096 });
        // Structured replies would have another magic number.
        seen.push(nameOf(NbdError, (await client.simpleReply()).error));
        client.close();
        return seen;
      },
      sees: { required: afterStartTls(TLS_FIRST), optional: afterStartTls('ACK') },
      logs: ['connection closed: '],
    },
  },
  {
    what: 'renegotiation',
    nbd: {
      async does(target) {
        const client = await target.greet();
        const socket = await client.startTls({ ...good.tls, maxVersion: 'TLSv1.2' });
        const answer = await answerTo(client, Option.LIST);
        socket.renegotiate({}, () => {});
        return [answer, await restOf(client)];
      },
      sees: ['LIST: SERVER disk, ACK', 'closed'],
      logs: [/^connection closed: .*renegotiation/m],
    },
    https: {
      async does(target) {
        const client = await target.dial(ATTACKER, target.httpPort);
        const socket = await client.secure({ ...good.tls, maxVersion: 'TLSv1.2' });
        socket.renegotiate({}, () => {});
        return [await restOf(client)];
      },
      sees: [expect.stringMatching(/^(closed$|HTTP\/1\.1 400 )/)],
      logs: ['closed a client: it tried to renegotiate TLS'],
    },
  },
];

function wrongKeys(): Expected {
  return {
    sees: [ALERT],
    logs: [
      'refused a TLS handshake: the key of "alice" is wrong',
      'refused a TLS handshake: there is no key for "bob"',
    ],
  };
}

function afterStartTls(structured: string): string[] {
  return [
    `STRUCTURED_REPLY: ${structured}`,
    'STARTTLS: INVALID STARTTLS carries no data',
    'STARTTLS: INVALID TLS has already begun',
    'SET_META_CONTEXT: INVALID metadata contexts need structured replies (negotiate them first)',
    'GO: INFO, ACK',
    'EINVAL',
  ];
}

/** A client that uses the disk. In a server with two threads, the first one is in the main thread. */
async function useDisk(target: AttackedServer): Promise<RawClient> {
  const client = await target.greet('127.0.0.1');
  await client.startTls(good.tls);
  expect(await answerTo(client, Option.GO, infoData('disk'))).toBe('GO: INFO, ACK');
  await expectServed(client);
  return client;
}

async function expectServed(client: RawClient): Promise<void> {
  client.request({ command: Command.READ, length: 512 });
  expect((await client.simpleReply(512)).error).toBe(0);
}

const at = <Value>(both: Both<Value>, mode: Mode): readonly Value[] => ('required' in both ? both[mode] : both);

const cells = rows.flatMap(({ what, nbd: overNbd, https }) =>
  doors.flatMap((door) => {
    const cell = door === 'HTTPS' ? https : overNbd;
    if (!cell || (door === 'NBD in another thread' && cell.isInClear)) return [];
    return modes.map((mode) => ({ what, door, mode, cell }));
  }),
);

/** What an outsider could use. */
const DETAILS = /hidden|nightly|strange|authority|expired|revoked|revocation|\.pem|\.js|\/tmp|node:/;

describe('an attacker is refused, told nothing, and found in the log:', () => {
  test.each(cells)('$what, over $door, TLS $mode', async ({ door, mode, cell }) => {
    const threads = door === 'NBD in another thread' ? 2 : 1;
    const target = await AttackedServer.start(authority, { mode, threads, revoked: [lost.serial] });
    const resident = await useDisk(target);
    const seen = await cell.does(target);
    expect(seen).toEqual(at(cell.sees, mode));
    expect(seen.join('\n')).not.toMatch(DETAILS);
    await vi.waitFor(() => {
      for (const line of at(cell.logs, mode)) expect(target.logged()).toMatch(line);
    }, 10_000);
    expect(target.hasUsedThread).toBe(threads > 1);
    await expectServed(resident);
    expect(await askApi(target, good.tls, { address: '127.0.0.1', paths: ['/v1/exports/disk/bitmaps'] })).toEqual([
      expect.stringMatching(/^200 .*nightly/),
    ]);
  });
});

const places = modes.flatMap((mode) => [1, 2].map((threads) => ({ mode, threads })));

/** A client that begins TLS, and sends no more. */
async function stopInTls(target: AttackedServer): Promise<RawClient> {
  const client = await target.greet();
  expect(await answerTo(client, Option.STARTTLS)).toBe('STARTTLS: ACK');
  client.send(Buffer.from(helloHeader, 'latin1'));
  return client;
}

describe('a TLS handshake that is never finished', () => {
  test.each(places)('ends in time, and counts once (TLS $mode, $threads threads)', async ({ mode, threads }) => {
    const settings = [['handshake-timeout', '1']] as const;
    const target = await AttackedServer.start(authority, { mode, threads, settings });
    const resident = await useDisk(target);
    const half = await stopInTls(target);
    expect(await restOf(half)).toBe('closed');
    await vi.waitFor(() => expect(target.logged()).toMatch(/^connection closed: .*in time/m), 10_000);
    expect(target.warnings(ATTACKER)).toEqual([expect.stringMatching(/did not finish the handshake in time$/)]);
    await expectServed(resident);
  });

  test.each(places)('makes room for others, which is no offence (TLS $mode, $threads threads)', async (place) => {
    const target = await AttackedServer.start(authority, { ...place, settings: [['max-connections', '2']] });
    const resident = await useDisk(target);
    const half = await stopInTls(target);
    const newcomer = await useDisk(target);
    expect(await restOf(half)).toBe('closed');
    await vi.waitFor(() => expect(target.logged()).toMatch(/^connection closed: .*make room/m), 10_000);
    expect(target.warnings(ATTACKER)).toEqual([]);
    await Promise.all([expectServed(resident), expectServed(newcomer)]);
  });

  test('ends in time over HTTPS, as silence does', async () => {
    const servers = await Promise.all(modes.map((mode) => AttackedServer.start(authority, { mode })));
    await Promise.all(
      servers.map(async (target) => {
        const [half, silent] = [
          await target.dial(ATTACKER, target.httpPort),
          await target.dial('127.0.0.62', target.httpPort),
        ];
        half.send(Buffer.from(helloHeader, 'latin1'));
        expect(await Promise.all([restOf(half), restOf(silent)])).toEqual(['closed', 'closed']);
      }),
    );
    const late = 'refused a TLS handshake: the client did not finish the handshake in time';
    expect(servers.map((target) => target.warnings(ATTACKER))).toEqual([[late], [late]]);
    const silence = servers.map((target) => target.warnings('127.0.0.62'));
    expect(silence).toEqual([[late], ['hung up on a client: it sent nothing']]);
  });
});

test.each(places)(
  'a certificate that is revoked later lets nobody in, and open connections stay (TLS $mode, $threads threads)',
  async (place) => {
    const target = await AttackedServer.start(authority, place);
    // With two threads, the next client is in the second one, which has the fewest.
    const open = [await useDisk(target), await useDisk(target), await useDisk(target)];
    await target.revoke([good.serial]);
    for (const client of open) await expectServed(client);
    expect(await talk(target, (client) => client.startTls(good.tls))).toEqual(['closed']);
    expect(await askApi(target, good.tls, { address: '127.0.0.62' })).toEqual(['closed']);
    const refusal = `refused a TLS handshake: the certificate CN=good (serial ${good.serial}) is revoked`;
    for (const address of [ATTACKER, '127.0.0.62']) expect(target.warnings(address)).toEqual([refusal]);
  },
);

/** Stands before an NBD server, and makes STARTTLS an option that nobody knows. Keeps what the client says. */
async function takeTlsAway(port: number, heard: Buffer[]): Promise<number> {
  const strip = createServer((client) => {
    const onwards = dial({ host: '127.0.0.1', port });
    const [startTls, unknownOption] = [u32(Option.STARTTLS), u32(77)];
    client.on('data', (data) => {
      heard.push(data);
      onwards.write(replaced(data, startTls, unknownOption));
    });
    onwards.on('data', (data) => client.write(replaced(data, unknownOption, startTls)));
    for (const [one, other] of [
      [client, onwards],
      [onwards, client],
    ] as const) {
      one.on('error', () => {}).on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => strip.listen({ host: '127.0.0.1', port: 0 }, resolve));
  onTestFinished(() => void strip.close());
  return (strip.address() as { port: number }).port;
}

function replaced(data: Buffer, from: Buffer, to: Buffer): Buffer {
  const copy = Buffer.from(data);
  const found = copy.indexOf(from);
  if (found >= 0) to.copy(copy, found);
  return copy;
}

test.each(modes)(
  'a client that wants TLS names no export when somebody in between takes it away (TLS %s)',
  async (mode) => {
    const target = await AttackedServer.start(authority, { mode });
    const heard: Buffer[] = [];
    const address = { host: '127.0.0.1', port: await takeTlsAway(target.nbdPort, heard) };
    const certificates = writeFolder({ 'ca-cert.pem': authority.certificate });
    const connecting = NbdClient.connect({
      ...{ address, exportName: 'disk' },
      tls: { certificates, verification: 'authority' },
    });
    await expect(connecting).rejects.toThrow(/does not offer TLS/);
    expect(Buffer.concat(heard).includes(u32(Option.STARTTLS))).toBe(true);
    expect(Buffer.concat(heard).includes('disk')).toBe(false);
  },
);

/** Connects to one port after the other, and prints what each sends first. */
const KNOCK = `
const { connect } = require('node:net');
const [host, ...ports] = process.argv.slice(1);
const visit = (port) => new Promise((resolve) => {
  let first = '';
  const socket = connect({ host, port });
  socket.on('connect', () => port === '8443' && socket.write('GET /healthz HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'));
  socket.on('data', (data) => {
    first = data.toString('latin1');
    socket.destroy();
  });
  socket.on('error', () => {}).on('close', () => resolve(first.slice(0, 8)));
});
(async () => {
  const seen = [];
  for (const port of ports) seen.push(await visit(port));
  console.log(JSON.stringify(seen));
})();
`;

test('a machine that is refused again and again rests at every door, and other machines go on', async () => {
  const folder = scratchFolder();
  const log = join(folder, 'log');
  const { server: far, client } = await twoMachines();
  const serving = far.start(
    'sh',
    ...['-c', 'exec "$@" 2>"$0"', log, process.execPath, tidemarkProgram, 'serve', '--json'],
    ...['--state', join(folder, 'state'), '--export', `disk=${makeImage(4096)}`],
    ...['--listen', `${far.address}:10809`, '--http', `${far.address}:8443`],
    ...['--tls-certificates', await authority.serverFolder(), '--access', 'cn:good'],
  );
  await said(serving, '"pid"');
  const knock = async (from: typeof far, ...ports: string[]) =>
    JSON.parse((await from.run(process.execPath, '-e', KNOCK, far.address, ...ports)).stdout);
  const refused = Array<string>(6).fill('8443');
  expect(await knock(client, '10809', ...refused, '10809')).toEqual(['NBDMAGIC', ...refused.map(() => ''), '']);
  expect(await knock(far, '10809')).toEqual(['NBDMAGIC']);
  const lines = readFileSync(log, 'utf8');
  for (const line of [
    'refused a client: it did not use TLS',
    `${client.address} rests for 1 s after 6 refused attempts`,
    `turned a client away: ${client.address} has to rest`,
  ]) {
    expect(lines).toContain(line);
  }
});
