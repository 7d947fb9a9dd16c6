import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { EventHistory } from '../../src/watch/event-history.js';
import { parseHookSpec } from '../../src/watch/hooks/hook-spec.js';
import { Hooks } from '../../src/watch/hooks/hooks.js';
import { readSecret, signatureOf } from '../../src/watch/hooks/post-webhook.js';
import { keepLog } from '../support/log-lines.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** The example that Svix publishes for the scheme of Standard Webhooks. */
const PUBLISHED = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: 1_614_265_330,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Receives webhooks on a loopback port, and answers as `answer` says. */
async function receiver(answer: (response: ServerResponse, count: number) => void = (response) => void response.end()) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part) => (body += part));
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      answer(response, received.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return { url, received, ids: () => received.map(({ body }) => JSON.parse(body).id) };
}

/** Hooks over a feed, as in one run of a server. */
async function run(specs: readonly string[], directory?: string, log = silentLog) {
  const history = await EventHistory.open(directory, log);
  const feed = new EventFeed(history.lastId);
  history.follow(feed);
  const hooks = await Hooks.open({ specs: specs.map(parseHookSpec), events: feed, history, directory, log });
  const add = (...names: string[]) => {
    for (const name of names) feed.publish({ type: 'export-added', export: name, by: 'me' });
  };
  const stop = async () => {
    await hooks.close();
    await history.close();
  };
  return { hooks, feed, add, stop, types: () => [...history.after(0)].map(({ type }) => type) };
}

/** An executable script. */
function script(lines: string): string {
  const path = join(scratchFolder(), 'hook');
  writeFileSync(path, `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
  return path;
}

describe('a webhook', () => {
  test('gets each event that it wants once, as JSON', async () => {
    const { url, received } = await receiver();
    const { feed, add, hooks } = await run([`pager,events=export-*,exports=vm*,url=${url}`]);
    add('vm1', 'other');
    feed.publish({ type: 'server-stopping' });
    add('vm2');
    await expect
      .poll(() => hooks.counts())
      .toEqual([{ hook: 'pager', delivered: 2, failed: 0, dropped: 0, queued: 0 }]);
    const bodies = received.map(({ body }) => JSON.parse(body)).sort((a, b) => a.id - b.id);
    expect(bodies).toEqual(
      [1, 4].map((id) => ({
        ...{ id, type: 'export-added', by: 'me', at: expect.any(String) },
        export: id === 1 ? 'vm1' : 'vm2',
      })),
    );
    expect(received[0]!.headers).toMatchObject({ 'content-type': 'application/json' });
    expect(received[0]!.headers).not.toHaveProperty('webhook-signature');
  });

  test('is signed as Standard Webhooks says, with the same id in each try', async () => {
    const file = join(scratchFolder(), 'secret');
    writeFileSync(file, `${PUBLISHED.secret}\n`, { mode: 0o600 });
    const secret = await readSecret(file, 'pager');
    const { signature } = PUBLISHED;
    expect(signatureOf(secret, PUBLISHED)).toMatchObject({ 'webhook-signature': signature });

    const { url, received } = await receiver((response, count) => {
      response.statusCode = count === 1 ? 503 : 204;
      response.end();
    });
    const { add } = await run([`pager,url=${url},secret-file=${file}`]);
    add('vm1');
    await expect.poll(() => received.length).toBe(2);
    const [first, second] = received.map(({ headers }) => headers);
    expect(second!['webhook-id']).toBe(first!['webhook-id']);
    for (const { headers, body } of received) {
      const [id, timestamp] = [String(headers['webhook-id']), Number(headers['webhook-timestamp'])];
      expect(Math.abs(timestamp - Date.now() / 1000)).toBeLessThan(60);
      expect(signatureOf(secret, { id, timestamp, body })['webhook-signature']).toBe(headers['webhook-signature']);
    }
  });

  test.each<[string, (response: ServerResponse) => void, string]>([
    ['an error', (response) => response.writeHead(500).end(), 'status 500'],
    ['a redirect', (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(), 'status 302'],
    ['nothing', () => {}, 'it took more than 1 s'],
    ['a broken connection', (response) => response.destroy(), 'did not answer'],
    [
      'an error without end',
      (response) => {
        response.writeHead(400);
        const timer = setInterval(() => response.write('x'.repeat(1000)), 1);
        response.on('close', () => clearInterval(timer));
      },
      'status 400',
    ],
  ])('whose receiver answers %s has failed, which is an event', async (_what, answer, detail) => {
    const { url } = await receiver(answer);
    const { feed, types, hooks } = await run([`pager,url=${url},tries=1,timeout=1`]);
    const failed = new Promise((resolve) => {
      feed.follow((event) => event.type === 'hook-failed' && resolve(event));
    });
    feed.publish({ type: 'export-added', export: 'disk' });
    expect(await failed).toMatchObject({ hook: 'pager', about: 1, tries: 1, detail: expect.stringContaining(detail) });
    // It is not told of its own failure.
    expect(types()).toEqual(['export-added', 'hook-failed']);
    expect(hooks.counts()).toEqual([{ hook: 'pager', delivered: 0, failed: 1, dropped: 0, queued: 0 }]);
  });

  test('that is gone is not tried again', async () => {
    const { url, received } = await receiver((response) => response.writeHead(410).end());
    const { add, types } = await run([`pager,url=${url}`]);
    add('disk');
    await expect.poll(types).toEqual(['export-added', 'hook-failed']);
    expect(received).toHaveLength(1);
  });
});

test('two hooks that both fail do not tell each other of it for ever', async () => {
  const { url } = await receiver((response) => response.writeHead(410).end());
  const { log, lines } = keepLog();
  const { add, types } = await run([`a,url=${url}`, `b,url=${url}`], undefined, log);
  add('disk');
  await expect.poll(() => lines.filter(({ level }) => level === 'error').length).toBe(2);
  expect(types()).toEqual(['export-added', 'hook-failed', 'hook-failed']);
});

describe('over a restart', () => {
  test('what was not delivered is sent, and what was is not', async () => {
    const directory = scratchFolder();
    let isUp = false;
    const { url, ids } = await receiver((response) => response.writeHead(isUp ? 200 : 500).end());
    const first = await run([`pager,url=${url}`], directory);
    isUp = true;
    first.add('a');
    await expect.poll(() => first.hooks.counts()[0]!.delivered).toBe(1);
    isUp = false;
    first.add('b', 'c');
    await expect.poll(() => ids().length).toBeGreaterThan(2);
    await first.stop();
    isUp = true;
    const second = await run([`pager,url=${url}`], directory);
    await expect.poll(() => second.hooks.counts()[0]!.delivered).toBe(2);
    second.add('d');
    await expect.poll(() => second.hooks.counts()[0]!.delivered).toBe(3);
    for (const once of [1, 4]) expect(ids().filter((id) => id === once)).toHaveLength(1);
    await second.stop();
    expect(JSON.parse(readFileSync(join(directory, 'hooks.json'), 'utf8'))).toEqual({ pager: 4 });
    expect(statSync(join(directory, 'hooks.json')).mode & 0o777).toBe(0o600);
  });

  test('a new hook begins with what happens from then on, also if the record of the others is damaged', async () => {
    const directory = scratchFolder();
    const first = await run([], directory);
    first.add('a');
    await first.stop();
    writeFileSync(join(directory, 'hooks.json'), '{');
    const { url, ids } = await receiver();
    const { log, lines } = keepLog();
    const second = await run([`pager,url=${url}`], directory, log);
    second.add('b');
    await expect.poll(ids).toEqual([2]);
    await second.stop();
    expect(lines).toMatchObject([{ level: 'warn', message: 'it is not known which events were sent to hooks' }]);
  });
});

describe('a command', () => {
  test('gets the type as its argument, the event on stdin, and nothing of the environment of the server', async () => {
    const told = join(scratchFolder(), 'told');
    const path = script(
      `{ echo "$1"; env | grep -v -e '^PWD=' -e '^SHLVL=' -e '^_=' | sort; pwd; cat; } > ${told}.new; mv ${told}.new ${told}; echo noted`,
    );
    const { log, lines } = keepLog();
    const { add, hooks } = await run([`mail,command=${path}`], undefined, log);
    add('vm1');
    await expect.poll(() => hooks.counts()[0]!.delivered).toBe(1);
    const [type, ...rest] = readFileSync(told, 'utf8').trim().split('\n');
    const event = JSON.parse(rest.pop()!);
    expect(event).toMatchObject({ id: 1, type: 'export-added', export: 'vm1' });
    expect([type, ...rest]).toEqual([
      ...['export-added', expect.stringMatching(/^PATH=/)],
      ...[`TIDEMARK_AT=${event.at}`, 'TIDEMARK_EVENT=export-added', 'TIDEMARK_EXPORT=vm1', '/'],
    ]);
    expect(lines).toEqual([
      {
        level: 'debug',
        fields: { hook: 'mail', about: 1, output: 'noted' },
        message: 'a hook wrote something',
      },
    ]);
  });

  test.each([
    ['ends with another exit code', 'exit 3', 'ended with exit code 3'],
    ['is killed', 'kill -9 $$', 'was ended by SIGKILL'],
    ['takes too long, with what it started', 'sleep 100 & sleep 100', 'it took more than 1 s'],
  ])('that %s has failed', async (_what, lines, detail) => {
    const { feed, types } = await run([`mail,command=${script(lines)},tries=1,timeout=1`]);
    const failed = new Promise((resolve) => {
      feed.follow((event) => event.type === 'hook-failed' && resolve(event));
    });
    feed.publish({ type: 'export-added', export: 'disk' });
    expect(await failed).toMatchObject({ detail: expect.stringContaining(detail) });
    expect(types()).toEqual(['export-added', 'hook-failed']);
  });

  test('need not read its input, and what it leaves running does not hold it up', async () => {
    const path = script('sleep 20 & exit 0');
    const { add, hooks } = await run([`mail,command=${path},timeout=5`]);
    add('x'.repeat(1000));
    await expect.poll(() => hooks.counts()[0]!.delivered).toBe(1);
  });
});

describe('a server does not start with', () => {
  const refused = (spec: string, message: string) =>
    expect(run([spec])).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(message) });

  test('a command that is not a program, or that others can change', async () => {
    const path = script('exit 0');
    await refused(`a,command=${path}.no`, 'cannot be read');
    chmodSync(path, 0o644);
    await refused(`a,command=${path}`, 'is not a program');
    chmodSync(path, 0o777);
    await refused(`a,command=${path}`, 'can be changed by other users');
    await refused('a,command=/usr', 'is not a program');
  });

  test('a secret that others can read, or that is too short', async () => {
    const file = join(scratchFolder(), 'secret');
    writeFileSync(file, `${PUBLISHED.secret}\n`, { mode: 0o644 });
    const spec = `a,url=https://a.example/,secret-file=${file}`;
    await refused(spec, 'can be read or changed by every user');
    chmodSync(file, 0o600);
    for (const text of ['', 'whsec_', 'whsec_abcd', 'something else']) {
      writeFileSync(file, text);
      await refused(spec, 'has no secret');
    }
    await refused(`${spec}.no`, 'cannot be read');
  });
});
