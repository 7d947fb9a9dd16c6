import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cleanup } from '../src/base/cleanup.js';
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
  /** The server requires TLS, with the certificates in this folder. */
  readonly certificates?: string | undefined;
  /** The main.js that runs as `before`. */
  readonly before?: string | undefined;
}

/** Two bitmaps in the store, or none. */
export const bitmapModes = ['persistent', 'off'] as const;
export type BitmapMode = (typeof bitmapModes)[number];

/** What one process serves, and where. Other servers than tidemark serve one image each. */
interface Place {
  readonly images: readonly [Image, ...Image[]];
  readonly socket: string;
  readonly folder: string;
}

type ServerProcess = Program | Daemon;
type Start = (place: Place, options: ServeOptions) => ServerProcess | Promise<ServerProcess>;

const START_SECONDS = 30;
export const tidemark = resolve(import.meta.dirname, '../../../../dist/main.js');

const starts: Readonly<Record<ServerName, Start>> = {
  tidemark: (place, options) => runTidemark(tidemark, place, options),

  before(place, options) {
    if (options.before === undefined) throw new Error('--beside has to say which build is measured as before');
    return runTidemark(options.before, place, options);
  },

  'qemu-nbd'({ images: [{ path, exportName }], socket }, options) {
    // Any number of clients at a time.
    const manner = ['--cache=writeback', '--aio=io_uring', '--persistent', '--shared=0'];
    const image = `driver=raw,file.driver=file,file.filename=${path}`;
    const credentials = `tls-creds-x509,id=tls0,endpoint=server,dir=${options.certificates}`;
    const tls = options.certificates === undefined ? [] : ['--object', credentials, '--tls-creds', 'tls0'];
    return run(['qemu-nbd', ...manner, ...tls, '-x', exportName, '-k', socket, '--image-opts', image], options);
  },

  nbdkit({ images: [{ path }], socket }, options) {
    const { certificates } = options;
    const tls = certificates === undefined ? [] : ['--tls=require', `--tls-certificates=${certificates}`];
    return run(['nbdkit', '--foreground', ...tls, '--unix', socket, 'file', path], options);
  },

  async 'nbd-server'({ images: [{ path, exportName }], socket, folder }, { signal, pin, certificates }) {
    const configuration = join(folder, 'nbd-server.conf');
    const pidFile = join(folder, 'nbd-server.pid');
    const file = (key: string, name: string) => `${key} = ${join(certificates ?? '', `${name}.pem`)}`;
    const tls = certificates === undefined ? [] : [file('cacertfile', 'ca-cert'), file('certfile', 'server-cert')];
    if (certificates !== undefined) tls.push(file('keyfile', 'server-key'), 'force_tls = true');
    const generic = ['[generic]', `unixsock = ${socket}`, ...tls].join('\n');
    await writeFile(configuration, `${generic}\n[${exportName}]\nexportname = ${path}\n`);
    // In the foreground it would serve only one client.
    const commandLine: CommandLine = ['nbd-server', '-C', configuration, '-p', pidFile];
    return await Daemon.start(pin ? onCore(0, commandLine) : commandLine, pidFile, signal);
  },
};

function runTidemark(main: string, { images, socket, folder }: Place, options: ServeOptions): Program {
  const { bitmaps = 'persistent', certificates } = options;
  const recorded = bitmaps === 'persistent' ? ',bitmap=nightly,bitmap=weekly' : '';
  const exports = images.flatMap(({ path, exportName }) => ['--export', `${exportName}=${path}${recorded}`]);
  const places = ['--unix', socket, '--state', join(folder, 'state'), '--control', controlIn(folder)];
  const transient = bitmaps === 'off' ? ['--transient'] : [];
  const tls = certificates === undefined ? [] : ['--tls', 'required', '--tls-certificates', certificates];
  return run([process.execPath, main, 'serve', ...exports, ...places, ...transient, ...tls], options);
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
  /** Undefined for a server that runs as a daemon, or as several processes. */
  readonly program: Program | undefined;
  /** The process that was started for each image, or for all of them. */
  readonly pids: readonly number[];
}

/** tidemark serves all images in one process. Of other servers there is a process for each image. */
export async function startServer(name: ServerName, options: ServeOptions): Promise<RunningServer> {
  const began = performance.now();
  const places = await placesFor(name, options);
  const processes: ServerProcess[] = [];
  const cleanup = new Cleanup();
  let greetingMilliseconds: number;
  try {
    for (const place of places) {
      const process = await starts[name](place, options);
      cleanup.defer(() => process[Symbol.asyncDispose]());
      processes.push(process);
    }
    // In NBD the server speaks first.
    for (const { socket } of places) await waitUntil(() => answers(socket, 'data'), name, processes);
    greetingMilliseconds = performance.now() - began;
    // tidemark accepts commands a little later than clients.
    const control = controlIn(options.folder);
    if (isTidemark(name)) await waitUntil(() => answers(control, 'connect'), name, processes);
  } catch (error) {
    await cleanup.run();
    throw error;
  }
  const [first] = processes;
  const socketOf = (image: Image) => places.find(({ images }) => images.includes(image))!.socket;
  return {
    name,
    greetingMilliseconds,
    uri: (image) =>
      `${options.certificates === undefined ? 'nbd' : 'nbds'}+unix:///${image.exportName}?socket=${socketOf(image)}`,
    program: processes.length === 1 && first instanceof Program ? first : undefined,
    pids: processes.map(({ pid }) => pid!),
    [Symbol.asyncDispose]: () => cleanup.run(),
  };
}

export function isTidemark(name: ServerName): boolean {
  return name === 'tidemark' || name === 'before';
}

async function placesFor(name: ServerName, { images, folder }: ServeOptions): Promise<Place[]> {
  if (isTidemark(name)) return [placeIn(folder, images)];
  const places = images.map((image, index) => placeIn(join(folder, `process-${index}`), [image]));
  for (const place of places) await mkdir(place.folder);
  return places;
}

function placeIn(folder: string, images: Place['images']): Place {
  return { images, folder, socket: join(folder, 'nbd.sock') };
}

async function waitUntil(
  isReady: () => Promise<boolean>,
  name: ServerName,
  processes: readonly ServerProcess[],
): Promise<void> {
  for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await delay(20)) {
    if (await isReady()) return;
    for (const one of processes) {
      if (one instanceof Program && one.hasEnded) throw new Error(`${name} ended at once:\n${one.output}`);
    }
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
