import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { type HttpLimits, httpLimits } from '../../src/control/http-server.js';
import { loadServerTls } from '../../src/tls/tls-settings.js';
import { controlHostOver } from './control-api.js';
import { keepLog } from './log-lines.js';
import { memoryRegistry } from './memory-server.js';
import { TestAuthority } from './tls-files.js';

/** The token of the operator. */
export const TOKEN = 's3cret';
export const withToken = { headers: { authorization: `Bearer ${TOKEN}` } };

export interface SceneOptions {
  readonly isRequired?: boolean;
  readonly limits?: Partial<HttpLimits>;
  /** A file of keys in addition to the certificates. */
  readonly psk?: string;
  /** Serial numbers of certificates that are revoked. */
  readonly patienceMilliseconds?: number;
}

/** A control API with the export "disk" on a loopback address that speaks HTTPS. */
export async function startHttps({ isRequired = false, limits, psk, patienceMilliseconds }: SceneOptions = {}) {
  const authority = await TestAuthority.create();
  const { log, lines } = keepLog();
  const host = await controlHostOver(await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]), log);
  const control = new ControlServer(host, patienceMilliseconds, { ...httpLimits, ...limits });
  onTestFinished(() => control.close());
  const settings = await loadServerTls({ certificates: await authority.serverFolder(), psk });
  const { port } = await control.listenTcp({
    ...{ host: '127.0.0.1', port: 0, token: TOKEN },
    tls: { settings, isRequired },
  });
  const refusals = () => lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  return { authority, host, control, port, lines, refusals };
}

export interface HttpAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it gets
  readonly document: any;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Makes one request on a connection of its own, encrypted unless `protocol` says otherwise. Rejects if it is cut. */
export function askHttps(options: RequestOptions & { body?: object }): Promise<HttpAnswer> {
  const { body, ...rest } = options;
  const send = options.protocol === 'http:' ? plainRequest : request;
  return new Promise((resolve, reject) => {
    const asking = send({ host: 'localhost', path: '/v1/server', agent: false, ...rest }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.once('end', () => {
        const isJson = answer.headers['content-type']?.includes('json');
        resolve({ status: answer.statusCode!, headers: answer.headers, document: isJson ? JSON.parse(text) : text });
      });
    });
    if (body) asking.setHeader('content-type', 'application/json');
    asking.once('error', reject).end(body && JSON.stringify(body));
  });
}

/** What a client does with the files of a folder. */
export function identityIn(folder: string): { ca: string; cert: string; key: string } {
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  return { ca: read('ca-cert.pem'), cert: read('client-cert.pem'), key: read('client-key.pem') };
}
