import { Type } from '@fastify/type-provider-typebox';
import { abortReasons } from '../../backup/backup-record.js';
import { Bytes, strict } from './shapes.js';
import { HeldWrites } from './transaction.js';

const onScratchFull = Type.Enum(['fail-view', 'fail-writer'], {
  description:
    'When old data finds no room: the backup is aborted (fail-view, when not given), or the write is refused',
});

const ttlSeconds = Type.Integer({
  minimum: 1,
  maximum: 30 * 24 * 3600,
  description: 'How long it may go on without a read of a view, or a renewal; 7200 when not given',
});

export const NewBackup = Type.Object(
  {
    exports: Type.Array(Type.String(), {
      minItems: 1,
      maxItems: 256,
      description: 'All of them are cut at one instant',
    }),
    bitmap: Type.String({ description: 'Of each export; made, at that instant, where it is missing' }),
    since: Type.Optional(Type.String({ description: 'The backup to build on; refused when it is not the base' })),
    full: Type.Optional(Type.Boolean({ description: 'Everything is to be read, whatever the bitmap says' })),
    ttlSeconds: Type.Optional(ttlSeconds),
    scratchLimitBytes: Type.Optional(Bytes('Old data that is kept for the views at most')),
    onScratchFull: Type.Optional(onScratchFull),
  },
  strict,
);

export const Renewal = Type.Object({ ttlSeconds: Type.Optional(ttlSeconds) }, strict);

export const Abort = Type.Object(
  { reason: Type.Optional(Type.String({ description: 'Why, for people', maxLength: 1000 })) },
  strict,
);

export const Commit = Type.Object(
  {
    readInFull: Type.Optional(
      Type.Array(
        Type.Object(
          {
            export: Type.String(),
            code: Type.String({ pattern: '^[a-z0-9-]{1,40}$', description: 'Why, for programs' }),
            detail: Type.String({ maxLength: 1000, description: 'Why, for people' }),
          },
          strict,
        ),
        { maxItems: 256, description: 'Exports that were read as a whole, though what had changed would have done' },
      ),
    ),
  },
  strict,
);

export const Release = Type.Object(
  {
    export: Type.String(),
    offset: Bytes('Where the range begins'),
    length: Bytes('Its length; whole granules in it are released'),
  },
  strict,
);

const BackupPart = Type.Object({
  export: Type.String(),
  view: Type.String({ description: 'The name of the view, as an NBD export' }),
  uri: Type.String({ description: 'The NBD URI of the view' }),
  context: Type.String({ description: 'The metadata context of the view that says what is dirty' }),
  disk: Type.Optional(
    Type.Object(
      {
        path: Type.String({ description: 'Of a file or a block device' }),
        id: Type.String({ description: 'By stat(2): st_dev:st_ino of a file, st_rdev of a block device, in decimals' }),
        bootId: Type.String({ description: '/proc/sys/kernel/random/boot_id of the machine that has it' }),
      },
      {
        description:
          'The live disk, for agents on the same machine while the backup is active: what they read there is the data of ' +
          'the view where tidemark:overwritten, a context of the view, does not call it overwritten afterwards',
      },
    ),
  ),
  mode: Type.Union([Type.Literal('full'), Type.Literal('incremental')]),
  fullReason: Type.Optional(
    Type.Object(
      {
        code: Type.String({
          description:
            'no-such-bitmap, inconsistent, no-base, base-mismatch, asked-for; or what the agent gave at commit',
        }),
        detail: Type.String(),
      },
      { description: 'Why everything has to be read' },
    ),
  ),
  base: Type.Union([Type.String(), Type.Null()], { description: 'The backup that the changes count from' }),
  sizeBytes: Bytes('Size of the view'),
  granularityBytes: Bytes('Bytes that one bit of the bitmap stands for'),
  dirtyBytes: Bytes('What the context calls dirty'),
  estimatedReadBytes: Bytes('What is to be read: the dirty bytes, or when full about what is allocated'),
});

export const Backup = Type.Object({
  id: Type.String(),
  bitmap: Type.String(),
  state: Type.Union([Type.Literal('active'), Type.Literal('committed'), Type.Literal('aborted')]),
  startedAt: Type.String(),
  ttlSeconds: Type.Integer(),
  expiresAt: Type.Optional(Type.String({ description: 'When its lease ends, while it is active' })),
  endedAt: Type.Optional(Type.String()),
  endReason: Type.Optional(Type.Enum([...abortReasons], { description: 'Why it was aborted' })),
  endDetail: Type.Optional(Type.String()),
  onScratchFull,
  scratch: Type.Object({
    usedBytes: Bytes('Old data kept for the views now'),
    limitBytes: Type.Optional(Bytes('What it may be at most')),
  }),
  exports: Type.Array(BackupPart),
});

export const BegunBackup = Type.Object({ ...Backup.properties, heldWrites: HeldWrites });
