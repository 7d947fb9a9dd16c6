import { GIB } from '../base/units.js';
import { NbdUnsupportedError } from '../client/errors.js';
import { AgentError } from './agent-error.js';
import { LastingClient } from './lasting-client.js';
import type { RestoreTarget, TargetOptions } from './target-options.js';
import { type Change, UnflushedChanges } from './unflushed-changes.js';
import { writeZeroes } from './write-zeroes.js';

/**
 * An export of any NBD server. When the connection is lost, it is made again, and what the server may have lost is
 * written again; that needs a server that can flush. @throws AgentError, NbdClientError
 */
export async function openNbdTarget(uri: string, options: TargetOptions): Promise<RestoreTarget> {
  const { signal = new AbortController().signal, tls, observer } = options;
  const changes = new UnflushedChanges(() => client.flush());
  const client = await LastingClient.connect(uri, {
    ...{ signal, tls, observer },
    mayReconnect: ({ flush }) => flush,
    prepare: (renewed) => changes.repeat(renewed),
  });
  await checkFitness(client, uri, options).catch(async (error) => {
    await client.disconnect();
    throw error;
  });
  const { features } = client;
  const { maximum } = client.blockSizes;
  const keep = async (change: Change) => {
    if (features.flush) await changes.keep(change);
  };

  const writePiece = async (offset: number, data: Buffer) => {
    await client.write(offset, data);
    await keep({ offset, length: data.length, data });
  };
  const write = async (offset: number, data: Buffer) => {
    const pieces: Promise<void>[] = [];
    for (let at = 0; at < data.length; at += maximum) {
      pieces.push(writePiece(offset + at, data.subarray(at, at + maximum)));
    }
    await Promise.all(pieces);
  };
  return {
    isHidden: false,
    write,
    async zero(offset, length) {
      if (!features.zero) return await writeZeroes(write, offset, length);
      for (let at = offset; at < offset + length; at += GIB) {
        const piece = { offset: at, length: Math.min(GIB, offset + length - at) };
        await client.zero(piece.offset, piece.length);
        await keep(piece);
      }
    },
    async finish() {
      if (features.flush) await changes.finish();
      await client.disconnect();
    },
    async discard() {
      client.abort();
    },
  };
}

async function checkFitness(
  { sizeBytes, features }: LastingClient,
  uri: string,
  { sizeBytes: neededBytes }: TargetOptions,
): Promise<void> {
  if (features.readOnly) throw new NbdUnsupportedError(`${uri} is read-only`, 'serve it writable');
  if (sizeBytes >= neededBytes) return;
  throw new AgentError(`${uri} has ${sizeBytes} bytes, and the disk ${neededBytes}`, 'give a larger export');
}
