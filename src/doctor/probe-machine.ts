import { readFile } from 'node:fs/promises';
import { SERVER_THREADS, threadCount } from '../base/thread-count.js';
import { loadPosix } from '../posix/posix.js';
import type { Posix } from '../posix/posix-calls.js';
import { openFilesLimit } from '../server/descriptor-limit.js';
import { type Finding, fatal, missing, ok } from './finding.js';
import { probeFolder } from './probe-folder.js';

const LEAST_NODE = [20, 19] as const;
const WANTED_SEND_BUFFER_BYTES = 2_097_152;
const WANTED_OPEN_FILES = 4096;

/** Checks what this machine and the file system of a folder offer to a server. */
export async function probeMachine(folder: string): Promise<Finding[]> {
  const posix = loadPosix();
  const nativeCalls = posix
    ? ok('native calls', `${process.platform} ${process.arch}`)
    : missing(
        'native calls',
        `not supported on ${process.platform} ${process.arch}: images are not locked, holes are not seen, reads are slower`,
      );
  return [
    nodeVersion(process.versions.node),
    await store(),
    nativeCalls,
    threads(process.env, posix),
    await openFiles(),
    await sendBuffer(),
    ...(await probeFolder(folder, posix)),
  ];
}

function nodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isEnough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  return isEnough
    ? ok('Node', version)
    : fatal('Node', `${version} is too old: install ${LEAST_NODE.join('.')} or later`);
}

async function store(): Promise<Finding> {
  try {
    await import('../bitmap/store/lmdb-store.js');
    return ok('store', 'LMDB loads');
  } catch (error) {
    return fatal('store', `LMDB does not load: ${(error as Error).message}; reinstall tidemark on this machine`);
  }
}

/** Checks the thread pool that a server gets in this environment. */
function threads({ UV_THREADPOOL_SIZE: setting }: NodeJS.ProcessEnv, posix: Posix | undefined): Finding {
  const count = setting === undefined && posix ? SERVER_THREADS : threadCount({ UV_THREADPOOL_SIZE: setting });
  if (count >= SERVER_THREADS) return ok('thread pool', `${count} threads`);
  const effect =
    'fewer requests can wait for disks at the same time, and fewer disks can hang without stopping the others';
  return missing('thread pool', `${count} threads: ${effect}; set UV_THREADPOOL_SIZE=${SERVER_THREADS}`);
}

async function openFiles(): Promise<Finding> {
  const limit = await openFilesLimit();
  if (limit === undefined) return missing('open files', 'the limit is unknown');
  const shown = limit === Number.POSITIVE_INFINITY ? 'no limit' : `up to ${limit}`;
  if (limit >= WANTED_OPEN_FILES) return ok('open files', shown);
  return missing(
    'open files',
    `${shown}; each client and disk needs one: raise the limit with ulimit -n or LimitNOFILE=`,
  );
}

async function sendBuffer(): Promise<Finding> {
  const bytes = Number(await readText('/proc/sys/net/core/wmem_max'));
  if (bytes >= WANTED_SEND_BUFFER_BYTES) return ok('socket buffers', `up to ${bytes} bytes`);
  return missing(
    'socket buffers',
    `up to ${bytes} bytes: large reads on unix sockets are slower; set sysctl net.core.wmem_max=${WANTED_SEND_BUFFER_BYTES}`,
  );
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
