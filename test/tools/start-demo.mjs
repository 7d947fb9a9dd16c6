// Serves a demo disk on NBD's port, in this process, and prints what to try with it.

import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const controlSocket = 'data/state/control.sock';

const greeting = `
tidemark serves the export "demo" on nbd://localhost/demo: 1 GiB in data/demo.img, with the dirty bitmap "nightly".
Try, in another terminal (the programs are in Debian's libnbd-bin and qemu-utils):

  nbdinfo nbd://localhost/demo
  qemu-io -f raw -c 'write -P 7 1M 256k' nbd://localhost/demo
  nbdinfo --map=qemu:dirty-bitmap:nightly nbd://localhost/demo

\`node dist/main.js --help\` lists the commands of tidemark; here they need --control ${controlSocket}
`;

/** Prints the greeting when the server answers. If the server cannot start, it says so itself and exits. */
function greetWhenUp() {
  const socket = connect(controlSocket);
  socket.once('connect', () => {
    socket.destroy();
    console.log(greeting);
  });
  socket.once('error', () => setTimeout(greetWhenUp, 50).unref());
}

process.chdir(root);
mkdirSync('data', { recursive: true });
process.argv = [
  process.execPath,
  'tidemark',
  'serve',
  ...['--export', 'demo=data/demo.img,size=1G,bitmap=nightly'],
  ...['--listen', '127.0.0.1:10809'],
  ...['--state', 'data/state'],
  ...['--control', controlSocket],
];
greetWhenUp();
await import(resolve(root, 'dist/main.js'));
