import { join, resolve } from 'node:path';
import { startPeer } from './peer.js';
import { type Outcome, outcomeWith } from './run.js';
import { scratchFolder } from './scratch-folder.js';

const root = resolve(import.meta.dirname, '../../node_modules/.cache/newer-peers/root');
const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
/** The loader of the newer system, which finds its libraries and not those of this one. */
const loader = join(libraries, 'ld-linux-x86-64.so.2');

const argumentsFor = (program: string, args: readonly string[]) => [
  ...['--library-path', libraries, join(root, 'usr/bin', program)],
  ...args,
];

async function outcomeOfNewer(program: string, ...args: string[]): Promise<Outcome> {
  return outcomeWith({ ...process.env, PYTHONHOME: join(root, 'usr') }, loader, ...argumentsFor(program, args));
}

/** Runs a newer program, which must succeed. Resolves to its standard output. */
export async function runNewer(program: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await outcomeOfNewer(program, ...args);
  if (code !== 0) throw new Error(`the newer ${program} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

/** Runs a script in which `h` is a handle of libnbd. Resolves to what it prints, as JSON. */
export async function inNewerLibnbd(script: string, ...args: string[]): Promise<unknown> {
  const whole = `import json, nbd, sys\nh = nbd.NBD()\n${script}`;
  return JSON.parse(await runNewer('python3', '-c', whole, ...args));
}

/** Serves an image with the newer qemu-nbd. Returns the URI. */
export async function startNewerQemuNbd(image: string, ...args: string[]): Promise<string> {
  const path = join(scratchFolder(), 'newer-qemu-nbd.sock');
  const options = ['--persistent', '--shared=0', '--socket', path, ...args, image];
  await startPeer(loader, argumentsFor('qemu-nbd', options), { path });
  return `nbd+unix:///?socket=${path}`;
}

/** Serves a plugin with the newer nbdkit. Returns the URI. */
export async function startNewerNbdkit(plugin: string, ...args: string[]): Promise<string> {
  const path = join(scratchFolder(), 'newer-nbdkit.sock');
  const file = join(libraries, `nbdkit/plugins/nbdkit-${plugin}-plugin.so`);
  await startPeer(loader, argumentsFor('nbdkit', ['--foreground', '--unix', path, file, ...args]), { path });
  return `nbd+unix:///?socket=${path}`;
}
