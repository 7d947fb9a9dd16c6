import type { FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../base/coded-error.js';
import type { ControlApi } from '../new-api.js';
import { loadPage, type Page, type PageFile } from '../page-files.js';

/** The page may load and run only its own files, and talk only to its own server. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const headers = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  vary: 'accept-encoding',
};

/** The names of assets change with their content. */
const FOR_EVER = 'public, max-age=31536000, immutable';

const options = { config: { right: 'nobody-needed' }, schema: { hide: true } } as const;

/** Serves the page. It has nothing secret in it: what it shows comes from the API, with the rights of whoever looks. */
export function pageRoutes(api: ControlApi): void {
  let loading: Promise<Page | undefined> | undefined;
  /** At the first request, so that the server starts without it. */
  const page = async (): Promise<Page> => {
    loading ??= loadPage().catch((error) => {
      loading = undefined;
      throw error;
    });
    const loaded = await loading;
    if (loaded) return loaded;
    throw new CodedError('NOT_FOUND', 'this build of tidemark has no page', 'build it with npm run build');
  };

  api.get('/', options, async (request, reply) => send(request, reply, (await page()).document, 'no-cache'));

  api.get<{ Params: { file: string } }>('/assets/:file', options, async (request, reply) => {
    const file = (await page()).assets.get(request.params.file);
    if (file) return send(request, reply, file, FOR_EVER);
    throw new CodedError('NOT_FOUND', `the page has no file ${request.params.file}`, 'reload the page');
  });
}

function send(request: FastifyRequest, reply: FastifyReply, file: PageFile, cacheControl: string): FastifyReply {
  const takesGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  reply.headers({ ...headers, 'content-type': file.mediaType, 'cache-control': cacheControl });
  if (takesGzip) reply.header('content-encoding', 'gzip');
  return reply.send(takesGzip ? file.gzipped : file.plain);
}
