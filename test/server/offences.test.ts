import { describe, expect, test } from 'vitest';
import type { Identity } from '../../src/access/identity.js';
import * as nbd from '../../src/protocol/constants.js';
import { rulesOf } from '../support/access-rules.js';
import { serveKnownClients } from '../support/known-client.js';
import { keepLog } from '../support/log-lines.js';
import { memoryRegistry } from '../support/memory-server.js';
import { infoData } from '../support/raw-client.js';

const far: Identity = {
  over: 'nbd',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  certificate: { dn: 'CN=a', commonName: 'a', names: [], serial: '01' },
};
const ORIGIN = '10.0.0.7';

async function serve(...specs: string[]) {
  const { log, lines } = keepLog();
  const known = await serveKnownClients(
    await memoryRegistry([{ name: 'seen' }, { name: 'hidden' }, { name: 'listed' }]),
    rulesOf('any,exports=seen', 'any,exports=listed,rights=list', ...specs),
    log,
  );
  /** How many of these attempts the server answers, one connection for each. */
  const answered = async (names: string[], option: number = nbd.Option.GO, identity: Identity = far) => {
    let count = 0;
    for (const name of names) {
      const client = await known.connectAs(identity, ORIGIN);
      try {
        await client.greet();
        client.option(option, infoData(name));
        await client.reply();
        count++;
      } catch {
        // The server has hung up.
      }
      client.close();
    }
    return count;
  };
  return { ...known, lines, answered };
}

const times = (count: number, name: string) => Array<string>(count).fill(name);

describe('a client that asks for exports that it may not use', () => {
  test('is turned away after five attempts, before its first byte', async () => {
    const { answered, connectAs } = await serve();
    expect(await answered(times(10, 'hidden'))).toBe(6);
    const client = await connectAs(far, ORIGIN);
    expect(await client.rest()).toHaveLength(0);
    expect(await (await connectAs(far, '10.0.0.8')).read(18)).toHaveLength(18);
  });

  test.each(['nowhere', 'listed', 'hidden@1'])(
    'pays the same for one that does not exist or is a view: %s',
    async (name) => {
      const { answered } = await serve();
      expect(await answered(times(10, name))).toBe(6);
    },
  );

  test('is forgiven when it uses one that it may use', async () => {
    const { answered } = await serve();
    expect(await answered([...times(5, 'hidden'), 'seen', ...times(5, 'hidden')])).toBe(11);
  });

  test('may ask about any export as often as it likes', async () => {
    const { answered } = await serve();
    expect(await answered(times(20, 'hidden'), nbd.Option.INFO)).toBe(20);
  });

  test.each([
    ['hidden', 'refused export "hidden": no rule lets CN=a (10.0.0.7) see it'],
    ['listed', 'refused export "listed": CN=a (10.0.0.7) has list, but not read'],
  ])('is logged with what it wanted and why not: %s', async (name, message) => {
    const { answered, lines } = await serve();
    await answered([name]);
    expect(lines.find(({ level }) => level === 'warn')).toMatchObject({
      fields: { client: 'known', attempt: 'rights', identity: 'CN=a (10.0.0.7)' },
      message,
    });
  });

  test('without a proof is called a client without one', async () => {
    const { answered, lines } = await serve();
    await answered(['hidden'], nbd.Option.GO, { ...far, certificate: undefined });
    expect(lines.find(({ level }) => level === 'warn')!.message).toBe(
      'refused export "hidden": the client proved no identity',
    );
  });
});

test('a wrong name is no offence of a client that may see everything', async () => {
  const { answered, lines } = await serve('any,rights=list');
  expect(await answered(times(20, 'nowhere'))).toBe(20);
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
});
