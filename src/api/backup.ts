import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List, strict } from './shapes.js';
import { HeldWrites } from './transaction.js';
import { abortReasons, fullReasonCodes, MAX_DETAIL_CHARACTERS, onScratchFullChoices } from './values.js';

const onScratchFull = Type.Enum(onScratchFullChoices, {
  description:
    'When there is no space for old data: abort the backup (fail-view, the default), or refuse the write (fail-writer, which takes the right write on each export)',
});

const ttlSeconds = Type.Integer({
  minimum: 1,
  maximum: 30 * 24 * 3600,
  description: 'The backup is aborted after this time without a renewal or a read of a view; the default is 7200',
});

export const NewBackup = Type.Object(
  {
    exports: List(Type.String(), {
      minItems: 1,
      maxItems: 256,
      description: 'The backup shows all of them at the same instant',
    }),
    bitmap: Type.String({ description: 'The bitmap of each export; it is created if it does not exist' }),
    since: Type.Optional(
      Type.String({
        description: 'The backup to build on; the request is refused if it is not the base of the bitmap',
      }),
    ),
    full: Type.Optional(Type.Boolean({ description: 'Read everything, regardless of the bitmap' })),
    ttlSeconds: Type.Optional(ttlSeconds),
    scratchLimitBytes: Type.Optional(Bytes('The most old data to keep for the views')),
    onScratchFull: Type.Optional(onScratchFull),
  },
  strict,
);
export type NewBackup = Readonly<Static<typeof NewBackup>>;

const progressAmounts = {
  doneBytes: Bytes('What the agent has read'),
  totalBytes: Bytes('What it will have read at the end, as far as it knows'),
};

const ProgressReport = Type.Object({ export: Type.String(), ...progressAmounts }, strict);
/** How far an agent has come with one export. */
export type ProgressReport = Readonly<Static<typeof ProgressReport>>;

export const Renewal = Type.Object(
  {
    ttlSeconds: Type.Optional(ttlSeconds),
    progress: Type.Optional(
      List(ProgressReport, {
        maxItems: 256,
        description: 'How far the agent has come, for those who watch; only if the backup accepts `progress`',
      }),
    ),
  },
  strict,
);

export const Abort = Type.Object(
  {
    reason: Type.Optional(
      Type.String({ description: 'Why the backup is aborted, in words', maxLength: MAX_DETAIL_CHARACTERS }),
    ),
  },
  strict,
);

/** An export that the agent read in full although reading the changes would have been enough. */
const ReadInFull = Type.Object(
  {
    export: Type.String(),
    code: Type.String({ pattern: '^[a-z0-9-]{1,40}$', description: 'Why, for programs' }),
    detail: Type.String({ maxLength: MAX_DETAIL_CHARACTERS, description: 'Why, in words' }),
  },
  strict,
);
export type ReadInFull = Readonly<Static<typeof ReadInFull>>;

export const Commit = Type.Object(
  {
    readInFull: Type.Optional(
      List(ReadInFull, {
        maxItems: 256,
        description: 'Exports that were read in full although reading the changes would have been enough',
      }),
    ),
  },
  strict,
);

export const Release = Type.Object(
  {
    export: Type.String(),
    offset: Bytes('Start of the range'),
    length: Bytes('Length of the range; only whole blocks of 4 KiB in it are released'),
  },
  strict,
);

/** How an agent on the same machine finds a disk and checks that it found the right one. */
const DiskLocation = Type.Object(
  {
    path: Type.String({ description: 'Path of a file or a block device' }),
    id: Type.String({
      description: 'From stat(2), in decimal: st_dev:st_ino of a file, st_rdev of a block device',
    }),
    bootId: Type.String({ description: '/proc/sys/kernel/random/boot_id of the machine with the disk' }),
  },
  {
    description:
      'The live disk, which agents on the same machine may read while the backup is active. Data read from it is that of ' +
      'the view if the metadata context tidemark:overwritten of the view does not report the range as overwritten afterwards',
  },
);
/** `id` is from `diskId`, and means nothing on another machine or after a reboot. */
export type DiskLocation = Readonly<Static<typeof DiskLocation>>;

const FullReason = Type.Object(
  {
    code: Type.String({
      description: `${fullReasonCodes.join(', ')}, or the code that the agent gave at commit`,
    }),
    detail: Type.String(),
  },
  { description: 'Why the backup is a full one' },
);
/** Why everything has to be read: a code for programs, and text for people. */
export type FullReason = Readonly<Static<typeof FullReason>>;

export const BackupPart = Type.Object({
  export: Type.String(),
  view: Type.String({ description: 'The name of the view, as an NBD export' }),
  uri: Type.String({ description: 'The NBD URI of the view' }),
  context: Type.String({ description: 'The metadata context of the view that reports dirty extents' }),
  disk: Type.Optional(DiskLocation),
  mode: Type.Union([Type.Literal('full'), Type.Literal('incremental')]),
  fullReason: Type.Optional(FullReason),
  base: Type.Union([Type.String(), Type.Null()], { description: 'The backup since which changes are reported' }),
  sizeBytes: Bytes('Size of the view'),
  granularityBytes: Bytes('Bytes that one bit of the bitmap stands for'),
  dirtyBytes: Bytes('Size of the dirty extents'),
  progress: Type.Optional(
    Type.Object(progressAmounts, { description: 'How far the agent of an active backup has come, if it said so' }),
  ),
  estimatedReadBytes: Bytes(
    'Estimate of the bytes to read: the dirty bytes or, for a full backup, the allocated bytes',
  ),
});
/** One export's part in a backup. */
export type BackupPart = Readonly<Static<typeof BackupPart>>;

export const Backup = Type.Object({
  id: Type.String(),
  bitmap: Type.String(),
  state: Type.Union([Type.Literal('active'), Type.Literal('committed'), Type.Literal('aborted')]),
  startedAt: Type.String(),
  startedBy: Type.Optional(
    Type.String({ description: 'Who began it, for callers with the right admin on all its exports' }),
  ),
  ttlSeconds: Type.Integer(),
  expiresAt: Type.Optional(Type.String({ description: 'When the lease of an active backup ends' })),
  endedAt: Type.Optional(Type.String()),
  endedBy: Type.Optional(Type.String({ description: 'Who ended it; missing if the server did' })),
  endReason: Type.Optional(Type.Enum(abortReasons, { description: 'Why it was aborted' })),
  endDetail: Type.Optional(Type.String()),
  onScratchFull,
  scratch: Type.Object({
    usedBytes: Bytes('Size of the old data kept for the views now'),
    limitBytes: Type.Optional(Bytes('The most that may be kept')),
  }),
  exports: List(BackupPart),
});
export type Backup = Readonly<Static<typeof Backup>>;

export const BegunBackup = Type.Object({
  ...Backup.properties,
  heldWrites: HeldWrites,
  accepts: List(Type.String(), {
    description: 'What later requests about the backup may have that an earlier server would refuse: `progress`',
  }),
});
export type BegunBackup = Readonly<Static<typeof BegunBackup>>;
