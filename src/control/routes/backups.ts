import { Type } from '@fastify/type-provider-typebox';
import { Abort, Backup, BegunBackup, Commit, NewBackup, Release, Renewal } from '../../api/backup.js';
import { List, Refusal } from '../../api/shapes.js';
import type { Backup as RunningBackup } from '../../backup/backup.js';
import type { BackupRecord, PartRecord } from '../../backup/backup-record.js';
import { DIRTY_BITMAP_PREFIX } from '../../base/metadata-contexts.js';
import type { SeenExports } from '../../export/seen-exports.js';
import type { ControlHost, ServerFacts } from '../control-host.js';
import { nbdUri, type Reach } from '../nbd-reach.js';
import type { ControlApi } from '../new-api.js';
import { mayBackUp, visibleBackup, withAskers } from '../seen-backups.js';

const Params = Type.Object({ backup: Type.String() });
const DEFAULT_TTL_SECONDS = 2 * 3600;

export function backupRoutes(api: ControlApi, host: ControlHost): void {
  const { backups } = host;
  const describe = (seen: SeenExports, record: BackupRecord, reach: Reach) =>
    describeBackup(host, withAskers(seen, record), reach);
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
    async ({ seen, reach }) => ({
      backups: backups
        .list()
        .filter((record) => mayBackUp(seen, record))
        .map((record) => describe(seen, record, reach)),
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
    async ({ seen, reach, body }, reply) => {
      for (const name of body.exports) {
        seen.get(name, ['backup']);
        // Writes of clients fail then, and with a small limit they fail at once.
        if (body.onScratchFull === 'fail-writer') seen.get(name, ['write']);
      }
      const { record, held } = await backups.begin({
        ...body,
        by: seen.who,
        ttlSeconds: body.ttlSeconds ?? DEFAULT_TTL_SECONDS,
        onScratchFull: body.onScratchFull ?? 'fail-view',
      });
      return reply.status(201).send({ ...describe(seen, record, reach), heldWrites: held, accepts: ['progress'] });
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
    async ({ seen, reach, params }) => describe(seen, known(seen, params.backup), reach),
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
    async ({ seen, reach, params, body }) =>
      describe(seen, backups.renew(known(seen, params.backup).id, body?.ttlSeconds, body?.progress), reach),
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
    async ({ seen, reach, params, body }) =>
      describe(
        seen,
        await backups.release(known(seen, params.backup).id, body.export, body.offset, body.length),
        reach,
      ),
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
    async ({ seen, reach, params, body }) =>
      describe(seen, await backups.commit(known(seen, params.backup).id, body?.readInFull, seen.who), reach),
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
    async ({ seen, reach, params, body }) =>
      describe(seen, await backups.abort(known(seen, params.backup).id, body?.reason, seen.who), reach),
  );
}

function describeBackup(host: ControlHost, record: BackupRecord, reach: Reach): Backup {
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
    exports: parts.map((part) => describePart({ nbd, reach }, record, part, running)),
  };
}

/** Where the live disk is only concerns agents on this machine. */
function describePart(
  { nbd, reach }: { readonly nbd: ServerFacts['nbd']; readonly reach: Reach },
  { id, bitmap }: BackupRecord,
  part: PartRecord,
  running: RunningBackup | undefined,
) {
  const view = `${part.export}@${id}`;
  const disk = running?.part(part.export).location;
  const progress = running?.progressOf(part.export);
  return {
    ...part,
    ...(disk && reach.isHere && { disk }),
    ...(progress && { progress: { doneBytes: progress.doneBytes, totalBytes: progress.totalBytes } }),
    view,
    uri: nbdUri(nbd, view, reach),
    context: DIRTY_BITMAP_PREFIX + bitmap,
  };
}
