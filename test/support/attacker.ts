import type { RequestOptions } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import * as nbd from '../../src/protocol/constants.js';
import { ATTACKER, type AttackedServer } from './attacked-server.js';
import { askHttps } from './https-scene.js';
import { infoData, metaData, type RawClient } from './raw-client.js';

/** What attackers do, and what they see of it: one line for each answer. */

const { Option, OptionError, OptionReply } = nbd;
const { READ_ONLY } = nbd.TransmissionFlag;

/** The name of a number of the protocol. */
export const nameOf = (table: Readonly<Record<string, number>>, value: number) =>
  Object.keys(table).find((name) => table[name] === value) ?? String(value);

/** The answer to an option, as text. */
export async function answerTo(client: RawClient, option: number, data?: Buffer): Promise<string> {
  client.option(option, data);
  const replies = await client.replies();
  const texts = replies.map((reply) => nameOf({ ...OptionReply, ...OptionError }, reply.type) + detailOf(reply));
  return `${nameOf(Option, option)}: ${texts.join(', ')}`;
}

function detailOf({ type, data }: { readonly type: number; readonly data: Buffer }): string {
  if (type >= 2 ** 31) return ` ${data}`;
  if (type === OptionReply.SERVER) return ` ${data.subarray(4)}`;
  return type === OptionReply.INFO && data.readUInt16BE(10) & READ_ONLY ? ' read-only' : '';
}

/** How a connection ends that is not answered. An alert of TLS is no HTTP. */
function endOf({ code = '', message }: Error & { readonly code?: string }): string {
  // So Node reports an alert that comes before the request is written.
  const alert = code === 'EPROTO' && /:([^:]+ alert [^:]+):/.exec(message)?.[1];
  if (alert) return `ERR_SSL_${alert.toUpperCase().replaceAll(' ', '_')}`;
  const isClosed = /^(ECONNRESET|EPIPE|HPE_\w+)$/.test(code) || message.startsWith('the server closed');
  return isClosed ? 'closed' : code || message;
}

/** What is received until the connection ends, an alert of TLS apart. */
export async function restOf(client: RawClient): Promise<string> {
  const rest = await client.rest();
  const isAlert = rest[0] === 0x15 && rest.length === 7;
  return rest.length === 0 || isAlert ? 'closed' : rest.toString('latin1');
}

/** Asks NBD about a disk, and about one that does not exist, in every way there is. */
async function* askAround(client: RawClient): AsyncGenerator<string> {
  yield await answerTo(client, Option.LIST);
  yield await answerTo(client, Option.STRUCTURED_REPLY);
  for (const name of ['disk', 'nowhere']) {
    yield await answerTo(client, Option.INFO, infoData(name));
    yield await answerTo(client, Option.LIST_META_CONTEXT, metaData(name, []));
    yield await answerTo(client, Option.SET_META_CONTEXT, metaData(name, ['base:allocation']));
    yield await answerTo(client, Option.GO, infoData(name));
  }
  client.option(Option.EXPORT_NAME, Buffer.from('disk'));
  yield await restOf(client);
}

/** What `askAround` sees. */
export function around(list: string, structured: string, named: (option: string, name: string) => string): string[] {
  const options = ['INFO', 'LIST_META_CONTEXT', 'SET_META_CONTEXT', 'GO'];
  const answers = ['disk', 'nowhere'].flatMap((name) => options.map((option) => `${option}: ${named(option, name)}`));
  return [`LIST: ${list}`, `STRUCTURED_REPLY: ${structured}`, ...answers, 'closed'];
}

/** Asks NBD as `askAround` does, after `begin`. */
export async function talk(
  target: AttackedServer,
  begin: (client: RawClient) => Promise<unknown> = async () => {},
  address = ATTACKER,
): Promise<string[]> {
  const client = await target.greet(address);
  const seen: string[] = [];
  try {
    await begin(client);
    for await (const answer of askAround(client)) seen.push(answer);
  } catch (error) {
    seen.push(endOf(error as Error));
  }
  return seen;
}

interface Asking {
  readonly address?: string;
  readonly paths?: readonly string[];
  readonly request?: Pick<RequestOptions, 'headers' | 'method' | 'protocol'>;
}

/** What the API answers, without repetitions. */
export async function askApi(target: AttackedServer, tls: ConnectionOptions, asking: Asking = {}): Promise<string[]> {
  const seen = new Set<string>();
  const {
    address: localAddress = ATTACKER,
    paths = ['/v1/exports', '/v1/exports/disk', '/v1/exports/nowhere', '/v1/tokens'],
    request = {},
  } = asking;
  for (const path of paths) {
    const place = { host: '127.0.0.1', port: target.httpPort, localAddress, path };
    const answer = await askHttps({ ...tls, ...place, ...request }).then(
      ({ status, document }) => `${status} ${document.detail ?? JSON.stringify(document)}`,
      endOf,
    );
    seen.add(answer);
  }
  return [...seen];
}

/** What the operator gets for a command on the control socket. */
export async function command(target: AttackedServer, path: string, body: object) {
  const { document } = await askHttps({
    protocol: 'http:',
    socketPath: target.controlPath,
    method: 'POST',
    path,
    body,
  });
  return document;
}
