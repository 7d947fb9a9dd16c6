import { statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { controlSocketIn, defaultStateDirectory } from '../../src/base/places.js';
import { KIB, MIB } from '../../src/base/units.js';
import { allArrays } from '../../src/bitmap/store/keys.js';
import { ServerStore } from '../../src/bitmap/store/open-store.js';
import { walkCommands } from '../../src/cli/command-tree.js';
import { buildProgram } from '../../src/cli/program.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { parseNbdUri } from '../../src/client/nbd-uri.js';
import { controlOf } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { type Outcome, outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, startTidemarkIn, tidemarkProgram } from '../support/tidemark.js';

/** One line that says what failed and how to fix it. */
const ERROR_LINE = /^tidemark: .+ \(.+\)\n$/;

const tidemark = (...args: string[]) => outcomeOf(process.execPath, tidemarkProgram, ...args);

/** A server of the 8 MiB disk `vm1` with the bitmap "nightly", and a function that runs commands on it. */
async function serve(...specs: string[]) {
  const image = makeImage(8 * MIB);
  const server = await startTidemark(`vm1=${image},bitmap=nightly`, ...specs);
  const ask = (...args: string[]) => tidemark(...args, '--control', server.control);
  const text = async (...args: string[]) => {
    const outcome = await ask(...args);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    return outcome.stdout;
  };
  const json = async (...args: string[]) => JSON.parse(await text(...args, '--json'));
  return { server, image, ask, text, json };
}

async function write(uri: string, offset: number, length: number): Promise<void> {
  const client = await NbdClient.connect(parseNbdUri(uri));
  await client.write(offset, Buffer.alloc(length, 7));
  await client.disconnect();
}

const nightly = {
  name: 'nightly',
  export: 'vm1',
  granularityBytes: 64 * KIB,
  sizeBytes: 8 * MIB,
  dirtyBytes: 0,
  recording: true,
  busy: false,
  persistent: true,
  inconsistent: false,
  base: null,
};

describe('with --json every command prints one document', () => {
  test('of exports', async () => {
    const { json, image, server } = await serve();
    const vm1 = {
      name: 'vm1',
      path: image,
      origin: 'flag',
      description: '',
      sizeBytes: 8 * MIB,
      readOnly: false,
      minBlockBytes: 512,
      uri: server.uri('vm1'),
      bitmaps: [nightly],
      connections: [],
    };
    expect(await json('export', 'list')).toEqual({ exports: [vm1], unserved: [] });
    const unused = { commands: {}, inFlight: 0, highestOffset: 0, idleSeconds: null };
    const statistics = { name: 'vm1', connections: 0, ...unused };
    expect(await json('export', 'show', 'vm1')).toMatchObject({ ...vm1, statistics });
    const path = join(scratchFolder(), 'vm2.img');
    const vm2 = { ...vm1, name: 'vm2', uri: server.uri('vm2'), path, origin: 'kept', sizeBytes: MIB, bitmaps: [] };
    expect(await json('export', 'add', `vm2=${path},size=1M`)).toEqual(vm2);
    expect(await json('export', 'resize', 'vm2', '2M')).toEqual({ ...vm2, sizeBytes: 2 * MIB });
    expect(await json('export', 'remove', 'vm2')).toEqual({ removed: 'vm2' });
    expect(await json('export', 'list')).toEqual({ exports: [vm1], unserved: [] });
  });

  test('of bitmaps', async () => {
    const { json, server } = await serve();
    await write(server.uri('vm1'), MIB, 512);
    const dirty = { ...nightly, dirtyBytes: 64 * KIB };
    const weekly = { ...nightly, name: 'weekly', granularityBytes: MIB, recording: false, persistent: false };
    const options = ['--granularity', '1M', '--disabled', '--transient'];
    expect(await json('bitmap', 'list', 'vm1')).toEqual({ bitmaps: [dirty] });
    expect(await json('bitmap', 'add', 'vm1', 'weekly', ...options)).toEqual(weekly);
    expect(await json('bitmap', 'merge', 'vm1', 'weekly', 'nightly')).toEqual({ ...weekly, dirtyBytes: MIB });
    expect(await json('bitmap', 'clear', 'vm1', 'nightly')).toEqual(nightly);
    expect(await json('bitmap', 'disable', 'vm1', 'nightly')).toEqual({ ...nightly, recording: false });
    expect(await json('bitmap', 'enable', 'vm1', 'nightly')).toEqual(nightly);
    expect(await json('bitmap', 'show', 'vm1', 'weekly')).toEqual({ ...weekly, dirtyBytes: MIB });
    expect(await json('bitmap', 'remove', 'vm1', 'weekly')).toEqual({ removed: 'weekly' });
    expect(await json('bitmap', 'list', 'vm1')).toEqual({ bitmaps: [nightly] });
  });

  test('of a map', async () => {
    const { json, server } = await serve();
    await write(server.uri('vm1'), 0, 64 * KIB);
    expect(await json('map', 'vm1', '--context', 'nightly')).toEqual({
      export: 'vm1',
      sizeBytes: 8 * MIB,
      contexts: [
        {
          name: 'qemu:dirty-bitmap:nightly',
          extents: [
            { offset: 0, length: 64 * KIB, status: 1, description: 'dirty' },
            { offset: 64 * KIB, length: 8 * MIB - 64 * KIB, status: 0, description: 'clean' },
          ],
        },
      ],
    });
  });
});

test('with --json the check of a state prints one document', async () => {
  const folder = scratchFolder();
  const server = await startTidemarkIn(folder, [`vm1=${makeImage(8 * MIB)},bitmap=nightly`]);
  const state = join(folder, 'state');
  expectRefusal(await tidemark('state', 'check', '--state', state), 1, 'another tidemark uses');
  await server.stop();
  const { code, stdout, stderr } = await tidemark('state', 'check', '--json', '--state', state);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const bitmaps = [{ name: 'nightly', granularityBytes: 64 * KIB, dirtyBytes: 0, recording: true, frozen: false }];
  expect(JSON.parse(stdout)).toMatchObject({
    exports: [{ name: 'vm1', sizeBytes: 8 * MIB, clean: true, activeRegions: 0, markedBytes: 0, bitmaps }],
    problems: [],
  });
});

test('an inconsistent state is reported without talking to a server', async () => {
  const folder = scratchFolder();
  const server = await startTidemarkIn(folder, [`vm1=${makeImage(8 * MIB)},bitmap=nightly`]);
  await server.stop();
  const state = join(folder, 'state');
  const store = await ServerStore.open(join(state, 'store'), silentLog);
  await store.entries.commit([{ key: [...allArrays('vm1'), 99, 0], value: Buffer.alloc(8) }]);
  await store.close();
  const { code, stdout, stderr } = await tidemark('state', 'check', '--state', state, '--control', '/nonexistent.sock');
  expect(stdout).toContain('PROBLEM: export "vm1": array 99 has pages but belongs to no bitmap\n');
  expect(stderr).toContain(`tidemark: the state in ${state} has 1 problem (move the directory away`);
  expect(code).toBe(1);
});

describe('for people', () => {
  test('exports are a table', async () => {
    const large = join(scratchFolder(), 'large.img');
    const { text, image, server } = await serve(`large=${large},size=1536M,bitmap=a,bitmap=b`);
    await write(server.uri('vm1'), 0, 512);
    const header = 'NAME      SIZE  ACCESS    BITMAPS  CLIENTS  ORIGIN  PATH';
    const rows = [
      `vm1      8 MiB  writable        1        0  flag    ${image}`,
      `large  1.5 GiB  writable        2        0  flag    ${large}`,
    ];
    expect(await text('export', 'list')).toBe(`${[header, ...rows].join('\n')}\n`);
  });

  test('an export is described, with its bitmaps and clients, and what these have done', async () => {
    const { text, image, server } = await serve();
    const client = await NbdClient.connect(parseNbdUri(server.uri('vm1')));
    await client.write(0, Buffer.alloc(4096, 7));
    const shown = await text('export', 'show', 'vm1');
    await client.disconnect();
    const [facts, bitmaps, clients, commands] = shown.trimEnd().split('\n\n');
    const lines = [
      ['name', 'vm1'],
      ['path', image],
      ['origin', 'flag (the command line of the server)'],
      ['size', '8 MiB (8388608 bytes)'],
      ['access', 'writable'],
      ['min-block', '512'],
    ];
    expect(facts).toBe(lines.map(([name, value]) => `${name!.padEnd(13)}${value}`).join('\n'));
    expect(bitmaps).toBe(
      [
        'NAME     GRANULARITY   SIZE   DIRTY    %  STATE',
        'nightly       64 KiB  8 MiB  64 KiB  0.8  recording, persistent',
      ].join('\n'),
    );
    expect(clients).toMatch(/^CLIENT {2}READ {2}WRITTEN {2}SINCE\nunix {5}0 B {4}4 KiB {2}\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    const [headings, write] = commands!.split('\n').map((line) => line.split(/ {2,}/));
    expect(headings!.join()).toBe('COMMAND,REQUESTS,BYTES,FAILED,INVALID,MEAN,P50,P99,MAX <=');
    expect(write!.slice(0, 5)).toEqual(['write', '1', '4 KiB', '0', '0']);
  });

  test('clients are a table, and are disconnected by ID', async () => {
    const { ask, text, server } = await serve();
    const client = await NbdClient.connect(parseNbdUri(server.uri('vm1')));
    const lost = client.read(0, 512).then(() => text('client', 'list'));
    const [heading, row = ''] = (await lost).trimEnd().split('\n');
    expect(heading).toBe('ID  ADDRESS  EXPORT  TLS    READ  WRITTEN  SINCE');
    const id = /^ *(\d+) {2}unix {5}vm1 {5}none {2}512 B {6}0 B {2}\d{4}-\d\d-\d\dT[\d:.]+Z$/.exec(row)![1]!;
    expectRefusal(await ask('export', 'remove', 'vm1'), 1, `"vm1" has 1 client: ${id} (unix)`);
    expectRefusal(await ask('export', 'remove', 'vm1', '--drain', '0'), 1, `"vm1" has 1 client: ${id} (unix)`);
    expect(await text('client', 'disconnect', id)).toBe(`disconnected ${id}\n`);
    expectRefusal(await ask('client', 'disconnect', id), 1, `there is no client ${id}`);
    expect(await text('export', 'remove', 'vm1', '--drain', '60')).toContain('no longer serving vm1');
    await client.disconnect().catch(() => {});
  });

  test('all clients of an export are disconnected together', async () => {
    const { text, ask, server } = await serve(`vm2=${makeImage(MIB)}`);
    const connect = (name: string) => NbdClient.connect(parseNbdUri(server.uri(name)));
    const clients = [await connect('vm1'), await connect('vm1'), await connect('vm2')];
    expect(await text('client', 'disconnect', '--export', 'vm1')).toBe('disconnected 2 clients\n');
    expect(await text('client', 'disconnect', '--export', 'vm1')).toBe('disconnected 0 clients\n');
    await clients[2]!.read(0, 512);
    expectRefusal(await ask('client', 'disconnect'), 2, 'either the ID of a client or --export');
    expectRefusal(
      await ask('client', 'disconnect', '1', '--export', 'vm1'),
      2,
      'either the ID of a client or --export',
    );
    for (const client of clients) await client.disconnect().catch(() => {});
  });

  test('a small dirty amount is not shown as 0.0 per cent', async () => {
    const { text, server } = await serve();
    await text('bitmap', 'add', 'vm1', 'fine', '--granularity', '512');
    await write(server.uri('vm1'), 0, 512);
    const rows = (await text('bitmap', 'list', 'vm1')).split('\n');
    expect(rows[2]).toBe('fine           512 B  8 MiB   512 B  <0.1  recording, persistent');
  });

  test('a bitmap is described', async () => {
    const { text, server } = await serve();
    await write(server.uri('vm1'), 0, 512);
    expect(await text('bitmap', 'show', 'vm1', 'nightly')).toBe(
      [
        'name         nightly',
        'export       vm1',
        'granularity  64 KiB',
        'disk         8 MiB (8388608 bytes)',
        'dirty        64 KiB (65536 bytes), 0.8 %',
        'state        recording, persistent',
        'base         none',
        '',
      ].join('\n'),
    );
  });

  test('a change is reported in one line', async () => {
    const { text } = await serve();
    expect(await text('bitmap', 'add', 'vm1', 'weekly', '--disabled')).toBe('added weekly, disabled, persistent\n');
    expect(await text('bitmap', 'enable', 'vm1', 'weekly')).toBe('weekly: 0 B dirty, recording, persistent\n');
    expect(await text('bitmap', 'remove', 'vm1', 'weekly')).toBe('removed weekly\n');
    expect(await text('export', 'resize', 'vm1', '16M')).toBe('vm1 has 16 MiB now\n');
    expect(await text('export', 'remove', 'vm1')).toBe(
      'no longer serving vm1, until the next start, because a flag of the server names it\n',
    );
    expect(await text('export', 'list')).toBe('NAME  SIZE  ACCESS  BITMAPS  CLIENTS  ORIGIN  PATH\n');
  });

  test('a map is drawn', async () => {
    const { text } = await serve();
    const map = await text('map', 'vm1');
    expect(map).toContain('vm1: 8 MiB, one character is 16 KiB\n');
    expect(map).toContain('qemu:dirty-bitmap:nightly: nothing dirty\n');
  });
});

test('serve --json prints its addresses on one line when it is ready', async () => {
  const server = await startTidemarkIn(
    scratchFolder(),
    [`vm1=${makeImage(8 * MIB)}`],
    ['--json', '--log-level', 'silent'],
  );
  await expect.poll(() => server.output()).toContain('\n');
  const described = await controlOf(server).call('GET', '/v1/server');
  expect(described).toMatchObject({ exports: ['vm1'], nbd: { tcp: [{ host: '127.0.0.1', port: server.port }] } });
  expect(await server.stop()).toBe(0);
  expect(server.output()).toBe(`${JSON.stringify(described)}\n`);
});

test('the path of an export is absolute, however it was given', async () => {
  const [image, other] = [makeImage(8 * MIB), makeImage(8 * MIB)];
  const server = await startTidemark(`vm1=${relative(process.cwd(), image)}`);
  const added = await controlOf(server).call('POST', '/v1/exports', {
    name: 'vm2',
    path: relative(process.cwd(), other),
  });
  expect(added).toMatchObject({ path: other });
  const { code, stdout } = await tidemark('export', 'list', '--json', '--control', server.control);
  expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, exports: [{ path: image }, { path: other }] });
});

describe('an export is added', () => {
  test('by a path relative to the caller, not to the server', async () => {
    const { json } = await serve();
    const path = join(scratchFolder(), 'vm2.img');
    const added = await json('export', 'add', `vm2=${relative(process.cwd(), path)},size=4M`);
    expect(added.path).toBe(path);
    expect(statSync(path).size).toBe(4 * MIB);
  });

  test('under any name', async () => {
    const { text, json } = await serve();
    const path = join(scratchFolder(), 'vm2.img');
    for (const name of ['..', 'a/b ü%2f?#']) {
      await text('export', 'add', `${name}=${path},size=1M`);
      expect(await json('export', 'show', name)).toMatchObject({ name, path });
      await text('bitmap', 'add', name, '.');
      expect(await json('bitmap', 'show', name, '.')).toMatchObject({ name: '.', export: name });
      await text('export', 'remove', name);
    }
  });
});

describe('the control socket', () => {
  test('may close before the answer, so that the outcome is unknown', async () => {
    const path = join(scratchFolder(), 'control.sock');
    const server = createServer((socket) => socket.once('data', () => socket.destroy())).listen(path);
    onTestFinished(() => void server.close());
    const outcome = await tidemark('export', 'remove', 'vm1', '--control', path);
    expectRefusal(outcome, 1, `the server on ${path} closed the connection before it answered`);
    expect(outcome.stderr).toContain('may or may not have taken effect');
  });

  test('is $TIDEMARK_CONTROL, unless --control gives another', async () => {
    const { server } = await serve();
    const withVariable = (socket: string, ...args: string[]) =>
      outcomeOf('env', `TIDEMARK_CONTROL=${socket}`, process.execPath, tidemarkProgram, 'export', 'list', ...args);
    expect(await withVariable(server.control)).toMatchObject({ code: 0, stdout: expect.stringContaining('vm1') });
    const nowhere = join(scratchFolder(), 'nowhere.sock');
    const refused = await withVariable(nowhere);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(ERROR_LINE);
    expect(refused.stderr).toContain(`no server answers on ${nowhere}`);
    expect(await withVariable(nowhere, '--control', server.control)).toMatchObject({ code: 0 });
  });

  test('is otherwise in the state directory of the system or the user', () => {
    expect(defaultStateDirectory({ XDG_STATE_HOME: '/state' }, 0)).toBe('/var/lib/tidemark');
    expect(defaultStateDirectory({ XDG_STATE_HOME: '/state' }, 1000)).toBe('/state/tidemark');
    expect(defaultStateDirectory({}, 1000)).toBe(join(homedir(), '.local/state/tidemark'));
    expect(controlSocketIn('/state/tidemark')).toBe('/state/tidemark/control.sock');
  });

  test('that belongs to something else counts as no server', async () => {
    const { server } = await serve();
    const { socketPath } = parseNbdUri(server.uri('vm1')).address as { socketPath: string };
    const outcome = await tidemark('export', 'list', '--control', socketPath);
    expect(outcome).toMatchObject({ code: 1, stdout: '' });
    expect(outcome.stderr).toMatch(ERROR_LINE);
    expect(outcome.stderr).toContain(`no server answers on ${socketPath}`);
  });
});

function expectRefusal({ code, stdout, stderr }: Outcome, expectedCode: number, what: string): void {
  expect(stderr).toMatch(ERROR_LINE);
  expect(stderr).toContain(what);
  expect({ code, stdout }).toEqual({ code: expectedCode, stdout: '' });
}

describe('a command that fails ends with 1', () => {
  test('and says why, in one line', async () => {
    const { ask, image } = await serve();
    const refusals: [string[], string][] = [
      [['export', 'show', 'vm9'], 'there is no export "vm9"'],
      [['export', 'remove', 'vm9'], 'there is no export "vm9"'],
      [['export', 'add', `vm1=${image}`], 'there is already an export "vm1"'],
      [['export', 'add', `vm2=${image}`], `this server serves ${image} already, as "vm1"`],
      [['export', 'add', `vm3=${image}.missing`], 'there is no image'],
      [['export', 'resize', 'vm1', '1000'], 'expected a positive multiple of 512'],
      [['export', 'resize', 'vm1', '0'], 'the disk keeps its current size'],
      [['bitmap', 'list', 'vm9'], 'there is no export "vm9"'],
      [['bitmap', 'show', 'vm1', 'weekly'], "Dirty bitmap 'weekly' not found"],
      [['bitmap', 'add', 'vm1', 'nightly'], 'Bitmap already exists: nightly'],
      [['bitmap', 'add', 'vm1', ''], 'Bitmap name cannot be empty'],
      [['bitmap', 'add', 'vm1', 'odd', '--granularity', '1000'], 'Granularity must be power of 2'],
      [['bitmap', 'merge', 'vm1', 'nightly', 'weekly'], "Dirty bitmap 'weekly' not found"],
      [['map', 'vm9'], 'there is no export "vm9"'],
      [['map', 'vm1', '--context', 'weekly'], 'has no metadata context "weekly"'],
    ];
    await Promise.all(refusals.map(async ([args, what]) => expectRefusal(await ask(...args), 1, what)));
  });

  test('with --json as a problem document too', async () => {
    const { ask } = await serve();
    const { code, stdout, stderr } = await ask('export', 'show', 'vm9', '--json');
    expectRefusal({ code, stdout: '', stderr }, 1, 'there is no export "vm9"');
    expect(JSON.parse(stdout)).toEqual({
      type: 'errors.md#export_not_found',
      title: 'There is no export with that name',
      status: 404,
      detail: 'there is no export "vm9"',
      code: 'EXPORT_NOT_FOUND',
      hint: 'tidemark export list shows what is served',
    });
  });

  test.each([
    [['export', 'list', '--control', '/nonexistent.sock'], 1, 'NO_SERVER'],
    [['export', 'frob'], 2, 'USAGE_INVALID'],
    [['export'], 2, 'USAGE_INVALID'],
    [['map', 'nbd://[::1'], 2, 'USAGE_INVALID'],
    [['map', 'nbd+unix:///x?socket=/nonexistent.sock'], 1, 'NBD_FAILED'],
    [['verify', '/nonexistent'], 1, 'AGENT_FAILED'],
    [['serve', '--export', 'vm1'], 2, 'EXPORT_INVALID'],
    [['serve', '--listen', 'nowhere'], 2, 'CONFIG_INVALID'],
    [['state', 'check', '--state', '/nonexistent'], 1, 'STORE_UNUSABLE'],
  ])('with --json by its code: %j', async (args, code, problem) => {
    const { stdout, ...outcome } = await tidemark(...args, '--json');
    expect(outcome.code).toBe(code);
    expect(JSON.parse(stdout)).toMatchObject({ code: problem, status: expect.any(Number), detail: expect.any(String) });
  });
});

describe('a command that is used wrongly ends with 2', () => {
  test.each([
    [['frob'], "unknown command 'frob'"],
    [['exprot'], "unknown command 'exprot'"],
    [['pull', 'vm1', '--bitmap', 'nightly', '--to', '/backup', '--bwlimit', '0'], 'Expected more than 0'],
    [['bitmap', 'frob'], "unknown command 'frob'"],
    [['export', 'list', 'vm1'], "too many arguments for 'list'"],
    [['export', 'show'], "missing required argument 'NAME'"],
    [['bitmap', 'merge', 'vm1', 'nightly'], "missing required argument 'SOURCE'"],
    [['bitmap', 'list', 'vm1', '--colour'], "unknown option '--colour'"],
    [['bitmap', 'list', 'vm1', '--control'], "option '--control <PATH>' argument missing"],
    [['bitmap', 'add', 'vm1', 'weekly', '--granularity', 'large'], 'Expected a size such as 512M or 10G'],
    [['export', 'resize', 'vm1', '-5'], 'Expected a size such as 512M or 10G'],
    [['export', 'resize', 'vm1', 'large'], 'Expected a size such as 512M or 10G'],
    [['export', 'add', 'vm2'], '"vm2" names no path'],
    [['map', 'nbd://[::1'], 'nbd://[::1'],
    [['serve', '--busy-poll', 'often'], '--busy-poll: invalid busy-poll "often"'],
    [['serve', '--export', 'vm1'], '"vm1" names no path'],
    [['serve', '--config', '/nonexistent.toml'], 'there is no file /nonexistent.toml'],
  ])('%j', async (args, what) => {
    expectRefusal(await tidemark(...args), 2, what);
  });

  test('by its file', async () => {
    const file = join(scratchFolder(), 'tidemark.toml');
    writeFileSync(file, 'listen = "127.0.0.1:0"\ncolour = "red"\n');
    expectRefusal(await tidemark('serve', '--config', file), 2, 'tidemark.toml:2: colour is not a setting');
  });

  test.each([[[]], [['export']], [['bitmap']], [['state']]])('tidemark %j shows its help on stderr', async (args) => {
    const { code, stdout, stderr } = await tidemark(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^Usage: ${['tidemark', ...args].join(' ')} \\[options\\] \\[command\\]\n`));
  });
});

describe('help', () => {
  /** The names of the commands that a help text lists. */
  function commandsIn(help: string): string[] {
    const list = help.split('\nCommands:\n')[1]?.split('\n\n')[0] ?? '';
    return [...list.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!).filter((name) => name !== 'help');
  }

  /** Walks through all help texts. Resolves to the commands without subcommands. */
  async function walk(path: string[]): Promise<string[]> {
    const { code, stdout, stderr } = await tidemark(...path, '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: ${['tidemark', ...path].join(' ')} `));
    expect(await tidemark(...path, '-h')).toMatchObject({ code: 0, stdout });
    const below = commandsIn(stdout);
    if (below.length === 0) return [path.join(' ')];
    return (await Promise.all(below.map((name) => walk([...path, name])))).flat();
  }

  test('is there for every command', async () => {
    const commands = await walk([]);
    expect(commands).toEqual(
      expect.arrayContaining([
        ...['serve', 'map', 'state check', 'client list', 'client disconnect'],
        ...['list', 'show', 'add', 'remove', 'resize'].map((name) => `export ${name}`),
        ...['list', 'show', 'add', 'remove', 'clear', 'enable', 'disable', 'merge'].map((name) => `bitmap ${name}`),
      ]),
    );
  });

  test.each([[['help']], [['help', 'bitmap']], [['bitmap', 'help', 'add']]])('is also shown by %j', async (args) => {
    expect(await tidemark(...args)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^Usage: /) });
  });

  test('--version prints the version', async () => {
    expect(await tidemark('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

test('an HTTP server that is not tidemark is reported', async () => {
  const path = join(scratchFolder(), 'other.sock');
  const answers = ['<html>', '{"error":"no"}', ''];
  const other = createHttpServer((_request, reply) => reply.writeHead(404).end(answers.shift()));
  await new Promise<void>((resolve) => other.listen(path, resolve));
  onTestFinished(() => void other.close());
  while (answers.length > 0) {
    expectRefusal(
      await tidemark('export', 'list', '--control', path),
      1,
      `what answers on ${path} is not a tidemark server`,
    );
  }
});

test('an answer that is not read, or does not fit on the disk, is not reported as a bug', async () => {
  const { server } = await serve();
  const command = `"${process.execPath}" "${tidemarkProgram}" export list --control "${server.control}"`;
  const shell = (script: string) => outcomeOf('bash', '-c', script);
  expect(await shell(`${command} | true; exit \${PIPESTATUS[0]}`)).toMatchObject({ code: 0, stderr: '' });
  const full = await shell(`${command} >/dev/full`);
  expect(full.stderr).toMatch(ERROR_LINE);
  expect(full).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot write to stdout: ENOSPC') });
});

test('every command takes --json and --control, even if it talks to no server', () => {
  const commands = walkCommands(buildProgram()).filter(({ subcommands }) => subcommands.length === 0);
  expect(commands.length).toBeGreaterThan(25);
  for (const { path, options } of commands) {
    const flags = options.map(({ long }) => long);
    expect(flags, path).toEqual(expect.arrayContaining(['--json', '--control', '--help']));
  }
});

test('restore refuses to overwrite a disk that is being served', async () => {
  const { server, image } = await serve();
  const backups = scratchFolder();
  const pulled = await tidemark('pull', 'vm1', '--bitmap', 'nightly', '--to', backups, '--control', server.control);
  expect(pulled).toMatchObject({ code: 0 });
  expectRefusal(
    await tidemark('restore', backups, 'vm1', '--to', image, '--force'),
    1,
    'another process is using the image',
  );
});
