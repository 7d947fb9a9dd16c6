import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Daemon } from './daemon.js';
import { type CommandLine, onCore, Program } from './program.js';

/** `before` is the build of tidemark that `--beside` names. */
export const serverNames = ['tidemark', 'before', 'qemu-nbd', 'nbdkit', 'nbd-server'] as const;
export type ServerName = (typeof serverNames)[number];

export interface Image {
  readonly path: string;
  readonly exportName: string;
}

export interface ServeOptions {
  readonly images: readonly [Image, ...Image[]];
  /** An empty folder for its socket and its state. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly pin: boolean;
  /** For tidemark; `persistent` by default. */
  readonly bitmaps?: BitmapMode | 'as stored';
  /** The main.js that runs as `before`. */
  readonly before?: string | undefined;
}

/** Two bitmaps in the store, two in memory only, or none. */
export const bitmapModes = ['persistent', 'transient', 'off'] as const;
export type BitmapMode = (typeof bitmapModes)[number];

/** Starts to serve the images on `socket`. Servers other than tidemark serve only the first image. */
type Start = (socket: string, options: ServeOptions) => AsyncDisposable | Promise<AsyncDisposable>;

const START_SECONDS = 30;
export const tidemark = resolve(import.meta.dirname, '../../../../dist/main.js');

const starts: Readonly<Record<ServerName, Start>> = {
  tidemark: (socket, options) => runTidemark(tidemark, socket, options),

  before(socket, options) {
    if (options.before === undefined) throw new Error('--beside has to say which build is measured as before');
    return runTidemark(options.before, socket, options);
  },

  'qemu-nbd'(socket, options) {
    const { path, exportName } = options.images[0];
    const manner = ['--cache=writeback', '--aio=io_uring', '--persistent', '--shared=0'];
    const image = `driver=raw,file.driver=file,file.filename=${path}`;
    return run(['qemu-nbd', ...manner, '-x', exportName, '-k', socket, '--image-opts', image], options);
  },

  nbdkit(socket, options) {
    return run(['nbdkit', '--foreground', '--unix', socket, 'file', options.images[0].path], options);
  },

  async 'nbd-server'(socket, { images: [{ path, exportName }], folder, signal, pin }) {
    const configuration = join(folder, 'nbd-server.conf');
    const pidFile = join(folder, 'nbd-server.pid');
    await writeFile(configuration, `[generic]\nunixsock = ${socket}\n[${exportName}]\nexportname = ${path}\n`);
    // In the foreground it would serve only one client.
    const commandLine: CommandLine = ['nbd-server', '-C', configuration, '-p', pidFile];
    return await Daemon.start(pin ? onCore(0, commandLine) : commandLine, pidFile, signal);
  },
};

function runTidemark(main: string, socket: string, options: ServeOptions): Program {
  const { bitmaps = 'persistent', images, folder } = options;
  const recorded = bitmaps === 'persistent' || bitmaps === 'transient' ? ',bitmap=nightly,bitmap=weekly' : '';
  const exports = images.flatMap(({ path, exportName }) => ['--export', `${exportName}=${path}${recorded}`]);
  const places = ['--unix', socket, '--state', join(folder, 'state'), '--control', controlIn(folder)];
  const transient = bitmaps === 'off' || bitmaps === 'transient' ? ['--transient'] : [];
  return run([process.execPath, main, 'serve', ...exports, ...places, ...transient], options);
}

/** The control socket of the tidemark that was started with this folder. */
export function controlIn(folder: string): string {
  return join(folder, 'control.sock');
}

function run(commandLine: CommandLine, { pin, signal }: ServeOptions): Program {
  return new Program(pin ? onCore(0, commandLine) : commandLine, signal);
}

export interface RunningServer extends AsyncDisposable {
  readonly name: ServerName;
  uri(image: Image): string;
  /** The time from its start until it greeted a client. */
  readonly greetingMilliseconds: number;
  /** Undefined for a server that runs as a daemon. */
  readonly program: Program | undefined;
}

export async function startServer(name: ServerName, options: ServeOptions): Promise<RunningServer> {
  const socket = join(options.folder, 'nbd.sock');
  const began = performance.now();
  const program = await starts[name](socket, options);
  let greetingMilliseconds: number;
  const dispose = () => program[Symbol.asyncDispose]();
  try {
    // In NBD the server speaks first.
    await waitUntil(() => answers(socket, 'data'), name, program);
    greetingMilliseconds = performance.now() - began;
    // tidemark accepts commands a little later than clients.
    const control = controlIn(options.folder);
    const isTidemark = name === 'tidemark' || name === 'before';
    if (isTidemark) await waitUntil(() => answers(control, 'connect'), name, program);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    name,
    greetingMilliseconds,
    uri: ({ exportName }) => `nbd+unix:///${exportName}?socket=${socket}`,
    program: program instanceof Program ? program : undefined,
    [Symbol.asyncDispose]: dispose,
  };
}

async function waitUntil(isReady: () => Promise<boolean>, name: ServerName, program: AsyncDisposable): Promise<void> {
  for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await delay(20)) {
    if (await isReady()) return;
    if (program instanceof Program && program.hasEnded) throw new Error(`${name} ended at once:\n${program.output}`);
  }
  throw new Error(`${name} does not listen after ${START_SECONDS} s`);
}

function answers(path: string, event: 'connect' | 'data'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once(event, () => {
      resolve(true);
      socket.destroy();
    });
  });
}
