// Serves a demo disk on NBD's port, in this process, and prints what to try with it. If that disk is being served already,
// says so instead. usage: start-demo.mjs [FOLDER [NBD-PORT [HTTP-PORT]]]

import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const root = resolve(import.meta.dirname, '../..');
const [folder = 'data', nbdPort = '10809', httpPort = '10810'] = process.argv.slice(2);
const controlSocket = `${folder}/state/control.sock`;
const uri = `nbd://localhost${nbdPort === '10809' ? '' : `:${nbdPort}`}/demo`;

const greeting = `
tidemark serves the export "demo" on ${uri}: 1 GiB in ${folder}/demo.img, with the dirty bitmap "nightly".
Try, in another terminal (the programs are in Debian's libnbd-bin and qemu-utils):

  nbdinfo ${uri}
  qemu-io -f raw -c 'write -P 7 1M 256k' ${uri}
  nbdinfo --map=qemu:dirty-bitmap:nightly ${uri}

\`node dist/main.js --help\` lists the commands of tidemark; here they need --control ${controlSocket}
`;

/**
 * The answer of the server on the control socket; undefined if none answers, or if it refuses.
 * @param {'GET' | 'POST'} method
 * @param {string} path
 * @returns {Promise<any>}
 */
function ask(method, path) {
  const headers = { 'content-type': 'application/json' };
  return new Promise((answer) => {
    const asking = request({ socketPath: controlSocket, method, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.once('end', () => answer((response.statusCode ?? 500) < 300 ? JSON.parse(text) : undefined));
    });
    asking.once('error', () => answer(undefined));
    asking.end(method === 'POST' ? '{}' : undefined);
  });
}

async function printLink() {
  const link = await ask('POST', '/v1/sign-in-links');
  if (link?.url === undefined) return;
  console.log(`The page of the server, in a browser on this machine:\n\n  ${link.url}\n`);
  console.log('The link works once, for 10 minutes. `npm start` in another terminal prints another one.\n');
}

/** Greets when this process answers. If it cannot start, it says so itself and exits. */
async function greetWhenUp() {
  while ((await ask('GET', '/v1/server'))?.pid !== process.pid) await delay(50, undefined, { ref: false });
  console.log(greeting);
  await printLink();
}

process.chdir(root);
const running = await ask('GET', '/v1/server');
if (running) {
  console.log(`\ntidemark is already running: process ${running.pid}, since ${running.startedAt}.\n`);
  await printLink();
} else {
  mkdirSync(folder, { recursive: true });
  process.argv = [
    process.execPath,
    'tidemark',
    'serve',
    ...['--export', `demo=${folder}/demo.img,size=1G,bitmap=nightly`],
    ...['--listen', `127.0.0.1:${nbdPort}`],
    ...['--http', `127.0.0.1:${httpPort}`],
    ...['--state', `${folder}/state`],
    ...['--control', controlSocket],
  ];
  void greetWhenUp();
  await import(resolve(root, 'dist/main.js'));
}
