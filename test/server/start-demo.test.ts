import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../support/free-port.js';
import { startPeer } from '../support/peer.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

const script = resolve(import.meta.dirname, '../tools/start-demo.mjs');
const LINK = /^ {2}(http:\/\/127\.0\.0\.1:\d+\/)#sign-in=(\S+)$/m;

/** Exchanges the code of a link, as the page does. Returns the status. */
async function signIn(output: string): Promise<number> {
  const [, page, code] = LINK.exec(output)!;
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${page}v1/sign-in`, { method: 'POST', headers, body: JSON.stringify({ code }) });
  await answer.text();
  return answer.status;
}

test('the demo prints a link that works once; a second start says what runs, and prints another link', async () => {
  const [folder, nbdPort, httpPort] = [scratchFolder(), await freePort(), await freePort()];
  const args = [script, folder, String(nbdPort), String(httpPort)];
  const first = await startPeer(process.execPath, args, { host: '127.0.0.1', port: httpPort });
  await expect.poll(first.output).toMatch(LINK);
  expect(first.output()).toContain(`tidemark serves the export "demo" on nbd://localhost:${nbdPort}/demo`);
  expect([await signIn(first.output()), await signIn(first.output())]).toEqual([201, 401]);

  const second = await outcomeOf(process.execPath, ...args);
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(second.stdout).toMatch(/^\ntidemark is already running: process \d+, since 2\d{3}-/);
  expect(second.stdout).not.toContain('tidemark serves');
  expect(await signIn(second.stdout)).toBe(201);
});

test('a demo whose port is taken says so, and does not greet', async () => {
  const [folder, nbdPort, httpPort] = [scratchFolder(), await freePort(), await freePort()];
  await startPeer(process.execPath, [script, scratchFolder(), String(nbdPort), String(httpPort)], {
    host: '127.0.0.1',
    port: httpPort,
  });
  const { code, stdout, stderr } = await outcomeOf(process.execPath, script, folder, String(nbdPort), String(httpPort));
  expect(code).toBe(1);
  expect(stderr).toContain(`127.0.0.1:${nbdPort}`);
  expect(stdout).toBe('');
});
