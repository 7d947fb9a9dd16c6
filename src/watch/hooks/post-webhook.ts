import { createHmac } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { CodedError } from '../../base/coded-error.js';
import { KIB } from '../../base/units.js';
import { isOpenToAll, readCheckedFile } from '../../posix/checked-file.js';
import { type Deliver, DeliveryError } from './delivery.js';

/** More of an answer is not read. */
const MAX_ANSWER_BYTES = 4 * KIB;
const MAX_SECRET_FILE_BYTES = 4 * KIB;
const SECRET_PREFIX = 'whsec_';
const LEAST_SECRET_BYTES = 24;
const GONE = 410;

/** Posts events as JSON, signed as Standard Webhooks says if there is a secret. */
export function webhookPoster(url: string, secret: Buffer | undefined): Deliver {
  // The rest of the URL may be a secret, and failures are logged.
  const { origin } = new URL(url);
  return async (event, signal) => {
    const body = JSON.stringify(event);
    const id = `evt_${event.id}_${Date.parse(event.at).toString(36)}`;
    const signed = secret && signatureOf(secret, { id, timestamp: Math.floor(Date.now() / 1000), body });
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'user-agent': 'tidemark',
      'webhook-id': id,
      ...signed,
    };
    // A connection of its own, so that none waits for another.
    const how = { method: 'POST', headers, agent: false, signal } as const;
    const request = url.startsWith('https:') ? requestHttps(url, how) : requestHttp(url, how);
    const status = await statusOf(request, body).catch((error: Error) => {
      throw new DeliveryError(signal.aborted ? String(signal.reason) : `${origin} did not answer: ${error.message}`);
    });
    if (status >= 200 && status < 300) return;
    throw new DeliveryError(`${origin} answered with status ${status}`, status === GONE);
  };
}

/** The headers of a request of this moment; `timestamp` is in seconds since the epoch. */
export function signatureOf(
  secret: Buffer,
  { id, timestamp, body }: { readonly id: string; readonly timestamp: number; readonly body: string },
) {
  const signature = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-timestamp': String(timestamp), 'webhook-signature': `v1,${signature}` };
}

/** Reads `whsec_` and base64, as Standard Webhooks writes a secret. @throws CodedError CONFIG_INVALID */
export async function readSecret(path: string, hook: string): Promise<Buffer> {
  const refuse = (what: string, hint: string): never => {
    throw new CodedError('CONFIG_INVALID', `the secret file ${path} of the hook ${hook} ${what}`, hint);
  };
  try {
    const text = await readCheckedFile(path, {
      maxBytes: MAX_SECRET_FILE_BYTES,
      followLinks: true,
      check: (stats, mode) => {
        if (!isOpenToAll(stats)) return;
        refuse(`can be read or changed by every user (mode ${mode})`, `run chmod 600 ${path}, and replace the secret`);
      },
    });
    return secretIn(text.trim()) ?? refuse('has no secret', 'write one: echo whsec_$(openssl rand -base64 32)');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    return refuse(`cannot be read: ${(error as Error).message}`, 'check the path');
  }
}

/** Undefined if it is none, or too short to be one. */
function secretIn(text: string): Buffer | undefined {
  if (!/^whsec_[A-Za-z0-9+/]+=*$/.test(text)) return undefined;
  const secret = Buffer.from(text.slice(SECRET_PREFIX.length), 'base64');
  return secret.length >= LEAST_SECRET_BYTES ? secret : undefined;
}

/** Sends the body, and resolves to the status of the answer. Redirects are not followed, and are no success. */
function statusOf(request: ClientRequest, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    request.on('error', reject);
    request.on('close', () => {
      if (!isAnswered) reject(new Error('the connection was closed'));
    });
    request.on('response', (answer: IncomingMessage) => {
      isAnswered = true;
      let bytes = 0;
      answer.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_ANSWER_BYTES) answer.destroy();
      });
      answer.on('error', () => {});
      // The status says it all, even if the rest of the answer does not come.
      answer.on('close', () => resolve(answer.statusCode ?? 0));
    });
    request.end(body);
  });
}
