import { Type } from '@fastify/type-provider-typebox';
import { Abort, Backup, BegunBackup, Commit, NewBackup, Release, Renewal } from '../../api/backup.js';
import { List, Refusal } from '../../api/shapes.js';
import type { Backup as RunningBackup } from '../../backup/backup.js';
import type { BackupRecord, PartRecord } from '../../backup/backup-record.js';
import { DIRTY_BITMAP_PREFIX } from '../../base/metadata-contexts.js';
import type { SeenExports } from '../../export/seen-exports.js';
import type { ControlHost, ServerFacts } from '../control-host.js';
import { viewUri } from '../descriptions.js';
import type { ControlApi } from '../new-api.js';
import { mayBackUp, visibleBackup } from '../seen-backups.js';

const Params = Type.Object({ backup: Type.String() });
const DEFAULT_TTL_SECONDS = 2 * 3600;

export function backupRoutes(api: ControlApi, host: ControlHost): void {
  const { backups } = host;
  const describe = (record: BackupRecord) => describeBackup(host, record);
  const known = (seen: SeenExports, id: string) => visibleBackup(backups, seen, id);

  api.get(
    '/v1/backups',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'listBackups',
        summary: 'List active backups, and those that ended recently',
        response: { 200: Type.Object({ backups: List(Backup) }), default: Refusal },
      },
    },
    async ({ seen }) => ({
      backups: backups
        .list()
        .filter((record) => mayBackUp(seen, record))
        .map(describe),
    }),
  );

  api.post(
    '/v1/backups',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'beginBackup',
        summary: 'Begin a backup: freeze the bitmap and create a view of each export, all at one instant',
        body: NewBackup,
        response: { 201: BegunBackup, default: Refusal },
      },
    },
    async ({ seen, body }, reply) => {
      for (const name of body.exports) seen.get(name, ['backup']);
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
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'getBackup',
        summary: 'Get a backup',
        params: Params,
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ seen, params }) => describe(known(seen, params.backup)),
  );

  api.post(
    '/v1/backups/:backup/renew',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'renewBackup',
        summary: 'Extend the lease, as reading a view does too',
        params: Params,
        body: Type.Optional(Type.Union([Renewal, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ seen, params, body }) => describe(backups.renew(known(seen, params.backup).id, body?.ttlSeconds)),
  );

  api.post(
    '/v1/backups/:backup/release',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'releaseRange',
        summary: 'Free the scratch space of a range that was read; reading the range again is an error',
        params: Params,
        body: Release,
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ seen, params, body }) =>
      describe(await backups.release(known(seen, params.backup).id, body.export, body.offset, body.length)),
  );

  api.post(
    '/v1/backups/:backup/commit',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'commitBackup',
        summary:
          'Commit a backup after all data was read: the next one builds on it. Repeating the request is harmless',
        params: Params,
        body: Type.Optional(Type.Union([Commit, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ seen, params, body }) => describe(await backups.commit(known(seen, params.backup).id, body?.readInFull)),
  );

  api.post(
    '/v1/backups/:backup/abort',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'abortBackup',
        summary:
          'Abort a backup: the bitmaps again describe all changes since their bases. Repeating the request is harmless',
        params: Params,
        body: Type.Optional(Type.Union([Abort, Type.Null()])),
        response: { 200: Backup, default: Refusal },
      },
    },
    async ({ seen, params, body }) => describe(await backups.abort(known(seen, params.backup).id, body?.reason)),
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
