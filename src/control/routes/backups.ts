import { Type } from '@fastify/type-provider-typebox';
import { Abort, Backup, BegunBackup, Commit, NewBackup, Release, Renewal } from '../../api/backup.js';
import { List, Refusal } from '../../api/shapes.js';
import type { Backup as RunningBackup } from '../../backup/backup.js';
import type { BackupRecord, PartRecord } from '../../backup/backup-record.js';
import { DIRTY_BITMAP_PREFIX } from '../../base/metadata-contexts.js';
import type { ControlHost, ServerFacts } from '../control-host.js';
import { viewUri } from '../descriptions.js';
import type { ControlApi } from '../new-api.js';

const Params = Type.Object({ backup: Type.String() });
const DEFAULT_TTL_SECONDS = 2 * 3600;

export function backupRoutes(api: ControlApi, host: ControlHost): void {
  const { backups } = host;
  const describe = (record: BackupRecord) => describeBackup(host, record);

  api.get(
    '/v1/backups',
    {
      schema: {
        operationId: 'listBackups',
        summary: 'List active backups, and those that ended recently',
        response: { 200: Type.Object({ backups: List(Backup) }), default: Refusal },
      },
    },
    async () => ({ backups: backups.list().map(describe) }),
  );

  api.post(
    '/v1/backups',
    {
      schema: {
        operationId: 'beginBackup',
        summary: 'Begin a backup: freeze the bitmap and create a view of each export, all at one instant',
        body: NewBackup,
        response: { 201: BegunBackup, default: Refusal },
      },
    },
    async ({ body }, reply) => {
      const { record, held } = await backups.begin({
        ...body,
        ttlSeconds: body.ttlSeconds ?? DEFAULT_TTL_SECONDS,
        onScratchFull: body.onScratchFull ?? 'fail-view',
      });
      return reply.status(201).send({ ...describe(record), heldWrites: held });
    },
  );

  api.get(
    '/v1/backups/:backup',
    {
      schema: {
        operationId: 'getBackup',
        summary: 'Get a backup',
        params: Params,
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ params }) => describe(backups.get(params.backup)),
  );

  api.post(
    '/v1/backups/:backup/renew',
    {
      schema: {
        operationId: 'renewBackup',
        summary: 'Extend the lease, as reading a view does too',
        params: Params,
        body: Type.Optional(Type.Union([Renewal, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ params, body }) => describe(backups.renew(params.backup, body?.ttlSeconds)),
  );

  api.post(
    '/v1/backups/:backup/release',
    {
      schema: {
        operationId: 'releaseRange',
        summary: 'Free the scratch space of a range that was read; reading the range again is an error',
        params: Params,
        body: Release,
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ params, body }) => describe(await backups.release(params.backup, body.export, body.offset, body.length)),
  );

  api.post(
    '/v1/backups/:backup/commit',
    {
      schema: {
        operationId: 'commitBackup',
        summary:
          'Commit a backup after all data was read: the next one builds on it. Repeating the request is harmless',
        params: Params,
        body: Type.Optional(Type.Union([Commit, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ params, body }) => describe(await backups.commit(params.backup, body?.readInFull)),
  );

  api.post(
    '/v1/backups/:backup/abort',
    {
      schema: {
        operationId: 'abortBackup',
        summary:
          'Abort a backup: the bitmaps again describe all changes since their bases. Repeating the request is harmless',
        params: Params,
        body: Type.Optional(Type.Union([Abort, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ params, body }) => describe(await backups.abort(params.backup, body?.reason)),
  );
}

function describeBackup(host: ControlHost, record: BackupRecord): Backup {
  const { parts, scratchLimitBytes, ...facts } = record;
  const running = host.backups.running(record.id);
  const { nbd } = host.describeServer();
  return {
    ...facts,
    ...(running && { expiresAt: running.lease.expiresAt.toISOString() }),
    scratch: {
      usedBytes: running?.scratchBytes ?? 0,
      ...(scratchLimitBytes === undefined ? {} : { limitBytes: scratchLimitBytes }),
    },
    exports: parts.map((part) => describePart(nbd, record, part, running)),
  };
}

function describePart(
  nbd: ServerFacts['nbd'],
  { id, bitmap }: BackupRecord,
  part: PartRecord,
  running: RunningBackup | undefined,
) {
  const view = `${part.export}@${id}`;
  const disk = running?.part(part.export).location;
  return {
    ...part,
    ...(disk && { disk }),
    view,
    uri: viewUri(nbd, view),
    context: DIRTY_BITMAP_PREFIX + bitmap,
  };
}
