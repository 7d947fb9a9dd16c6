import { type Static, type TSchema, Type } from '@fastify/type-provider-typebox';
import { abortReasons } from '../backup/backup-record.js';
import { errorTitles } from '../base/coded-error.js';
import { grounds } from '../bitmap/store/left-disk.js';

/** The shapes of the control API, each once: they validate, type and document. Sizes and offsets are bytes. */

const strict = { additionalProperties: false };
const Bytes = (description: string) => Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'Where the code is explained, relative to the documentation' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What happened' }),
    code: Type.String({ enum: Object.keys(errorTitles), description: 'Stable: callers branch on it' }),
    hint: Type.Optional(Type.String({ description: 'How to mend it' })),
    failedAction: Type.Optional(Type.Integer({ description: 'Which action of a transaction was refused, from 0' })),
  },
  { description: 'A refusal (RFC 9457)' },
);

/** An answer that is no plain JSON. */
export const answerOf = <Schema extends TSchema>(mediaType: string, description: string, schema: Schema) => ({
  description,
  content: { [mediaType]: { schema } },
});

export const Refusal = answerOf('application/problem+json', 'A refusal', Problem);

export const Bitmap = Type.Object({
  name: Type.String(),
  export: Type.String(),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  sizeBytes: Bytes('Size of the disk that it describes'),
  dirtyBytes: Bytes('Bytes written since its base, in whole granules'),
  recording: Type.Boolean({ description: 'Writes are recorded' }),
  busy: Type.Boolean({ description: 'Frozen by an operation; a successor records' }),
  persistent: Type.Boolean({ description: 'Outlives the server' }),
  inconsistent: Type.Boolean({ description: 'Cannot be trusted; remove it and add it anew' }),
  inconsistentReason: Type.Optional(Type.String()),
  base: Type.Union([Type.String(), Type.Null()], { description: 'The committed backup that its bits count from' }),
  trust: Type.Optional(
    Type.Object(
      {
        ground: Type.String({ enum: Object.keys(grounds) }),
        text: Type.String({ description: 'The same for people' }),
      },
      { description: 'Why a bitmap that is older than this run of the server is trusted' },
    ),
  ),
});

const Connection = Type.Object({
  id: Type.Integer(),
  client: Type.String(),
  connectedAt: Type.String(),
  requests: Type.Integer(),
  failedRequests: Type.Integer(),
  bytesRead: Type.Integer(),
  bytesWritten: Type.Integer(),
});

export const Client = Type.Object({
  ...Connection.properties,
  export: Type.String({ description: 'The export, or the view, that it uses' }),
  tls: Type.Literal('none'),
});

const minBlockBytes = Type.Union([Type.Literal(1), Type.Literal(512), Type.Literal(4096)], {
  description: 'NBD clients that ask for block sizes are held to multiples of this; 512 when not given',
});

export const ExportDescription = Type.Object({
  name: Type.String(),
  path: Type.String(),
  description: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  readOnly: Type.Boolean(),
  minBlockBytes,
  bitmaps: Type.Array(Bitmap),
  connections: Type.Array(Connection),
});

const granularityBytes = Type.Optional(Bytes('A power of two from 512 to 2147483648; 65536 when not given'));

export const NewBitmap = Type.Object(
  {
    name: Type.String(),
    granularityBytes,
    disabled: Type.Optional(Type.Boolean({ description: 'Made without recording' })),
    transient: Type.Optional(Type.Boolean({ description: 'Kept in memory alone' })),
  },
  strict,
);

export const NewExport = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    path: Type.String({
      minLength: 1,
      description: 'A raw image or a block device, absolute or as the server sees it',
    }),
    description: Type.Optional(Type.String()),
    sizeBytes: Type.Optional(Bytes('Makes a missing file of that size; never changes one that is there')),
    readOnly: Type.Optional(Type.Boolean()),
    format: Type.Optional(
      Type.Literal('raw', { description: 'Serves a new image as raw even if it looks like one of another format' }),
    ),
    minBlockBytes: Type.Optional(minBlockBytes),
    bitmaps: Type.Optional(Type.Array(Type.Object({ name: Type.String(), granularityBytes }, strict))),
  },
  strict,
);

export const Size = Type.Object({ sizeBytes: Bytes('A multiple of 512') }, strict);

const MergeSource = Type.Union([
  Type.String({ description: 'A bitmap of the same export' }),
  Type.Object({ export: Type.String(), bitmap: Type.String() }, strict),
]);

/** Of one merge, and of all merges of a transaction: writes wait for them. */
export const MAX_MERGE_SOURCES = 1000;

export const MergeSources = Type.Object(
  { sources: Type.Array(MergeSource, { minItems: 1, maxItems: MAX_MERGE_SOURCES }) },
  strict,
);

const onBitmap = (type: 'bitmap-remove' | 'bitmap-clear' | 'bitmap-enable' | 'bitmap-disable') =>
  Type.Object({ type: Type.Literal(type), export: Type.String(), bitmap: Type.String() }, strict);

export const Action = Type.Union([
  Type.Object(
    {
      type: Type.Literal('bitmap-add'),
      export: Type.String(),
      bitmap: Type.String(),
      granularityBytes,
      disabled: Type.Optional(Type.Boolean()),
      transient: Type.Optional(Type.Boolean()),
    },
    strict,
  ),
  onBitmap('bitmap-remove'),
  onBitmap('bitmap-clear'),
  onBitmap('bitmap-enable'),
  onBitmap('bitmap-disable'),
  Type.Object(
    {
      type: Type.Literal('bitmap-merge'),
      export: Type.String(),
      bitmap: Type.String({ description: 'The target' }),
      sources: Type.Array(MergeSource, { minItems: 1, maxItems: MAX_MERGE_SOURCES }),
    },
    strict,
  ),
]);
export type Action = Static<typeof Action>;

export const Transaction = Type.Object({ actions: Type.Array(Action, { minItems: 1, maxItems: 1000 }) }, strict);

export const HeldWrites = Type.Object(
  {
    count: Type.Integer(),
    medianMilliseconds: Type.Number(),
    p99Milliseconds: Type.Number(),
    maxMilliseconds: Type.Number(),
  },
  { description: 'How long clients waited: the writes that came while the change was made' },
);

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

export const Extents = Type.Object({
  export: Type.String(),
  bitmap: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  extents: Type.Array(
    Type.Object({ offset: Bytes('Where it begins'), length: Bytes('Its length'), dirty: Type.Boolean() }),
  ),
  nextOffset: Type.Union([Type.Integer(), Type.Null()], { description: 'Where the next page begins; null at the end' }),
});

export const Server = Type.Object({
  version: Type.String(),
  pid: Type.Integer(),
  startedAt: Type.String(),
  stateDirectory: Type.String(),
  persistent: Type.Boolean({ description: 'Bitmaps outlive the server' }),
  connections: Type.Integer({ description: 'NBD clients now' }),
  memory: Type.Object(
    {
      usedBytes: Bytes('What clients hold of it'),
      limitBytes: Bytes('What there is'),
      waitingConnections: Type.Integer({ description: 'Clients that are not read from until there is more' }),
    },
    { description: 'The memory that NBD clients share for large or waiting requests' },
  ),
  exports: Type.Array(Type.String()),
  nbd: Type.Object({
    tcp: Type.Array(Type.Object({ host: Type.String(), port: Type.Integer() })),
    unix: Type.Optional(Type.String()),
  }),
  http: Type.Optional(
    Type.Object(
      {
        host: Type.String(),
        port: Type.Integer(),
        tokenFile: Type.Optional(Type.String({ description: 'The file with the token that requests have to carry' })),
        metricsOnly: Type.Boolean({ description: 'It answers health and metrics, and nothing else' }),
      },
      { description: 'Where this API is open on TCP' },
    ),
  ),
});
