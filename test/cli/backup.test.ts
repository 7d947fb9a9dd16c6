import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeImage } from '../support/image.js';
import { type Outcome, outcomeOf } from '../support/run.js';
import { startTidemark, tidemarkProgram } from '../support/tidemark.js';

const DISK_BYTES = 8 * MIB;
const ID = /\d{8}-\d{6}-[0-9a-z]{4}/;
const TIME = /\d{4}-\d\d-\d\dT[\d:.]+Z/;

const tidemark = (...args: string[]) => outcomeOf(process.execPath, tidemarkProgram, ...args);

/**
 * A server of the 8 MiB disk `vm1` with 1 MiB of data and the bitmap "nightly", and a function that runs commands on
 * it.
 */
async function serve() {
  const image = makeImage(DISK_BYTES, [{ offset: 0, length: MIB }]);
  const server = await startTidemark(`vm1=${image},bitmap=nightly`, `vm2=${makeImage(DISK_BYTES)}`);
  const ask = (...args: string[]) => tidemark(...args, '--control', server.control);
  const text = async (...args: string[]) => {
    const outcome = await ask(...args);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    return outcome.stdout;
  };
  const json = async (...args: string[]) => JSON.parse(await text(...args, '--json'));
  return { server, ask, text, json };
}

async function write(uri: string, offset: number, length: number): Promise<void> {
  const client = await NbdClient.connect(uri);
  await client.write(offset, Buffer.alloc(length, 7));
  await client.disconnect();
}

function expectRefusal({ code, stdout, stderr }: Outcome, expectedCode: number, what: string): void {
  expect(stderr).toMatch(/^tidemark: .+ \(.+\)\n$/);
  expect(stderr).toContain(what);
  expect({ code, stdout }).toEqual({ code: expectedCode, stdout: '' });
}

describe('with --json every command prints one document', () => {
  test('from begin to commit, and the next', async () => {
    const { server, json } = await serve();
    const begun = await json('backup', 'begin', 'vm1', 'vm2', '--bitmap', 'nightly', '--ttl', '30m');
    const { id } = begun;
    expect(id).toMatch(new RegExp(`^${ID.source}$`));
    const { heldWrites, accepts, ...described } = begun;
    expect(accepts).toEqual(['progress']);
    expect(heldWrites).toMatchObject({ count: 0 });
    expect(described).toMatchObject({
      ...{
        bitmap: 'nightly',
        state: 'active',
        ttlSeconds: 1800,
        onScratchFull: 'fail-view',
        scratch: { usedBytes: 0 },
      },
      exports: [
        {
          ...{ export: 'vm1', view: `vm1@${id}`, uri: server.uri(`vm1@${id}`), context: 'qemu:dirty-bitmap:nightly' },
          ...{ mode: 'full', fullReason: { code: 'no-base' }, base: null, sizeBytes: DISK_BYTES },
          ...{ granularityBytes: 64 * KIB, dirtyBytes: DISK_BYTES, estimatedReadBytes: MIB },
        },
        { export: 'vm2', fullReason: { code: 'no-such-bitmap' }, estimatedReadBytes: 0 },
      ],
    });
    expect(await json('backup', 'show', id)).toEqual({ ...described, expiresAt: expect.stringMatching(TIME) });
    const renewed = await json('backup', 'renew', id, '--ttl', '1d');
    expect(renewed).toMatchObject({ id, ttlSeconds: 86_400 });
    await write(server.uri('vm1'), 0, 128 * KIB);
    expect((await json('backup', 'show', id)).scratch).toEqual({ usedBytes: 128 * KIB });
    expect((await json('backup', 'release', id, 'vm1', '0', '64K')).scratch).toEqual({ usedBytes: 64 * KIB });
    const committed = await json('backup', 'commit', id);
    expect(committed).toMatchObject({ id, state: 'committed', endedAt: expect.stringMatching(TIME) });
    expect(await json('backup', 'commit', id)).toEqual(committed);
    expect(await json('bitmap', 'show', 'vm1', 'nightly')).toMatchObject({ base: id, dirtyBytes: 128 * KIB });

    const next = await json('backup', 'begin', 'vm1', '--bitmap', 'nightly', '--since', id);
    expect(next.exports).toMatchObject([{ mode: 'incremental', base: id, dirtyBytes: 128 * KIB }]);
    const aborted = await json('backup', 'abort', next.id);
    expect(aborted).toMatchObject({ id: next.id, state: 'aborted', endReason: 'asked' });
    expect(await json('backup', 'list')).toEqual({ backups: [committed, aborted] });
  });

  test('of the choices of begin', async () => {
    const { json } = await serve();
    const choices = ['--full', '--ttl', '90', '--scratch-limit', '1G', '--on-scratch-full', 'fail-writer'];
    expect(await json('backup', 'begin', 'vm1', '--bitmap', 'nightly', ...choices)).toMatchObject({
      ...{ ttlSeconds: 90, onScratchFull: 'fail-writer', scratch: { limitBytes: 1024 * MIB } },
      exports: [{ fullReason: { code: 'asked-for' } }],
    });
  });

  test('of times in any unit', async () => {
    const { json } = await serve();
    const times = { '90': 90, '90s': 90, '2m': 120, '3h': 10_800, '1d': 86_400 };
    for (const [time, ttlSeconds] of Object.entries(times)) {
      const begun = await json('backup', 'begin', 'vm2', '--bitmap', `of ${time}`, '--ttl', time);
      expect(begun).toMatchObject({ ttlSeconds });
    }
  });
});

test('the text output of a backup from begin to end', async () => {
  const { server, text, ask } = await serve();
  const begun = await text('backup', 'begin', 'vm1', 'vm2', '--bitmap', 'nightly', '--scratch-limit', '512M');
  const id = ID.exec(begun)![0];
  const parts = [
    "vm1: full, because bitmap 'nightly' has no base: no backup has been committed with it yet; about 1 MiB to read",
    `  ${server.uri(`vm1@${id}`)}`,
    '  qemu:dirty-bitmap:nightly',
    "vm2: full, because there was no bitmap 'nightly'; it records from now on; about 0 B to read",
    `  ${server.uri(`vm2@${id}`)}`,
    '  qemu:dirty-bitmap:nightly',
  ];
  const expires = TIME.exec(begun)![0];
  const last = `tidemark backup commit ${id}   after reading the views`;
  expect(begun).toBe(`${[`began ${id}, held until ${expires}`, ...parts, last].join('\n')}\n`);

  await write(server.uri('vm1'), 0, 64 * KIB);
  expect(await text('backup', 'list')).toBe(
    [
      'ID                    BITMAP   EXPORT  MODE                   STATE   SCRATCH',
      `${id}  nightly  vm1     full (no-base)         active   64 KiB`,
      '                               vm2     full (no-such-bitmap)',
      '',
    ].join('\n'),
  );
  const shown = (await text('backup', 'show', id)).replaceAll(new RegExp(TIME, 'g'), 'TIME');
  expect(shown).toBe(
    [
      ...[`id        ${id}`, 'bitmap    nightly', 'state     active', 'started   TIME'],
      ...['expires   TIME, 7200 s after the last read', 'scratch   64 KiB of 512 MiB', ...parts, ''],
    ].join('\n'),
  );
  expect(await text('backup', 'renew', id, '--ttl', '3h')).toMatch(
    new RegExp(`^${id} is held until ${TIME.source}\n$`),
  );
  expect(await text('backup', 'release', id, 'vm1', '0', '64K')).toBe(`${id} keeps 0 B of old data\n`);
  expect(await text('backup', 'commit', id)).toBe(`${id} is committed\n`);
  expectRefusal(await ask('backup', 'abort', id), 1, `backup ${id} was committed and cannot be aborted`);

  const next = await text('backup', 'begin', 'vm1', '--bitmap', 'nightly', '--since', id);
  expect(next).toContain(`vm1: incremental since ${id}; about 64 KiB to read\n`);
  const nextId = ID.exec(next)![0];
  expect(await text('backup', 'abort', nextId)).toBe(`${nextId} is aborted\n`);
  expect(await text('backup', 'show', nextId)).toContain(
    'state     aborted on request (it was aborted by its agent)\n',
  );
  expect(await text('backup', 'list')).toMatch(/ vm1 +incremental +aborted on request +0 B\n/);
  expect(await text('bitmap', 'show', 'vm1', 'nightly')).toContain(`base         ${id}\n`);
});

test('an export with an active backup is removed only with --force', async () => {
  const { ask, text } = await serve();
  const id = ID.exec(await text('backup', 'begin', 'vm1', 'vm2', '--bitmap', 'nightly'))![0];
  expectRefusal(await ask('export', 'remove', 'vm1'), 1, `backup ${id} is under way on "vm1"`);
  expect(await text('export', 'remove', 'vm1', '--force')).toContain('no longer serving vm1');
  expect(await text('backup', 'show', id)).toContain('aborted: export-removed (the export "vm1" was removed)\n');
});

test('a command that fails ends with 1 and says why', async () => {
  const { ask } = await serve();
  const nobody = '20990101-000000-abcd';
  const refusals: [string[], string][] = [
    [['begin', 'vm9', '--bitmap', 'nightly'], 'there is no export "vm9"'],
    [['begin', 'vm1', 'vm1', '--bitmap', 'nightly'], 'an export is named twice'],
    [['begin', 'vm1', '--bitmap', ''], 'Bitmap name cannot be empty'],
    [['begin', 'vm1', '--bitmap', 'nightly', '--since', nobody], `does not count from backup ${nobody}`],
    [['begin', 'vm1', '--bitmap', 'nightly', '--ttl', '31d'], 'body.ttlSeconds must be <= 2592000'],
    ...['show', 'renew', 'commit', 'abort'].map((verb): [string[], string] => [
      [verb, nobody],
      `there is no backup ${nobody}`,
    ]),
    [['release', nobody, 'vm1', '0', '64K'], `there is no backup ${nobody}`],
  ];
  await Promise.all(refusals.map(async ([args, what]) => expectRefusal(await ask('backup', ...args), 1, what)));
});

test('a command that is used wrongly ends with 2', async () => {
  const wrong: [string[], string][] = [
    [['begin', '--bitmap', 'nightly'], "missing required argument 'EXPORT'"],
    [['begin', 'vm1'], "required option '--bitmap <NAME>' not specified"],
    [['begin', 'vm1', '--bitmap', 'b', '--ttl', 'soon'], 'Expected a time such as 90s, 30m or 2h'],
    [['begin', 'vm1', '--bitmap', 'b', '--ttl', '1.5h'], 'Expected a time such as 90s, 30m or 2h'],
    [['begin', 'vm1', '--bitmap', 'b', '--scratch-limit', 'large'], 'Expected a size such as 512M or 10G'],
    [['begin', 'vm1', '--bitmap', 'b', '--on-scratch-full', 'panic'], 'Allowed choices are fail-view, fail-writer'],
    [['renew'], "missing required argument 'ID'"],
    [['renew', 'x', '--ttl', 'soon'], 'Expected a time such as 90s, 30m or 2h'],
    [['release', 'x', 'vm1', '0'], "missing required argument 'LENGTH'"],
    [['release', 'x', 'vm1', 'first', '1M'], 'Expected a size such as 512M or 10G'],
    [['commit'], "missing required argument 'ID'"],
    [['abort', 'x', 'y'], "too many arguments for 'abort'"],
    [['list', 'x'], "too many arguments for 'list'"],
    [['frob'], "unknown command 'frob'"],
  ];
  await Promise.all(wrong.map(async ([args, what]) => expectRefusal(await tidemark('backup', ...args), 2, what)));
});

test('without a subcommand the help is shown on stderr', async () => {
  const { code, stdout, stderr } = await tidemark('backup');
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^Usage: tidemark backup \[options\] \[command\]\n/);
});

test('every backup command has help', async () => {
  const names = ['begin', 'list', 'show', 'renew', 'release', 'commit', 'abort'];
  const helps = await Promise.all(names.map((name) => tidemark('backup', name, '--help')));
  for (const [i, { code, stdout, stderr }] of helps.entries()) {
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: tidemark backup ${names[i]} \\[options\\]`));
    for (const option of ['--json', '--control <PATH>', '--help']) expect(stdout).toContain(option);
  }
  const { stdout } = await tidemark('backup', '--help');
  for (const name of names) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
});
