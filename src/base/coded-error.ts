/**
 * Every error that an operator, an agent or a script can get outside the NBD data path, with its title. Codes are
 * stable, because callers branch on them. The message of an error gives the particulars.
 */
export const errorTitles = {
  CONFIG_INVALID: 'The configuration is not valid',
  USAGE_INVALID: 'The command line is not valid',
  ADDRESS_UNUSABLE: 'An address cannot be listened on',
  NO_SERVER: 'No server answers',
  AGENT_FAILED: 'A command on a folder of backups failed',
  NBD_FAILED: 'An NBD server could not be used',
  BAD_REQUEST: 'The request is not well formed',
  UNAUTHORIZED: 'A valid token is required',
  FOREIGN_REQUEST: 'A web page may have sent the request',
  NOT_FOUND: 'There is no such resource',
  METHOD_NOT_ALLOWED: 'The resource has no such method',
  UNSUPPORTED_MEDIA_TYPE: 'The body is not JSON',
  EXPORT_NOT_FOUND: 'There is no export of that name',
  EXPORT_EXISTS: 'An export of that name is already served',
  EXPORT_INVALID: 'The export cannot be described like that',
  IMAGE_UNUSABLE: 'The image cannot be opened or served',
  IMAGE_NOT_RAW: 'The image looks like one of another format',
  IMAGE_NOT_ALLOWED: 'The image lies where the server takes none from',
  IMAGE_LOCKED: 'Another process uses the image',
  BITMAP_NOT_FOUND: 'There is no bitmap of that name',
  BITMAP_EXISTS: 'A bitmap of that name exists already',
  BITMAP_INVALID: 'A bitmap cannot be made like that',
  BITMAP_BUSY: 'The bitmap is in use by another operation',
  BITMAP_INCONSISTENT: 'The bitmap is inconsistent',
  BITMAP_INCOMPATIBLE: 'The bitmaps do not describe the same disk',
  BITMAP_HAS_SUCCESSOR: 'The bitmap already has a successor',
  BITMAP_NO_SUCCESSOR: 'The bitmap has no successor',
  BITMAP_DISABLED: 'The bitmap records nothing',
  BACKUP_NOT_FOUND: 'There is no backup of that id',
  BACKUP_ENDED: 'The backup has ended',
  BACKUP_INVALID: 'A backup cannot be begun like that',
  BASE_MISMATCH: 'The bitmap does not count from that backup',
  SCRATCH_UNUSABLE: 'The scratch directory cannot be used',
  STORE_UNUSABLE: 'The store of bitmaps cannot be used',
  STORE_IN_DOUBT: 'It is not known whether the store holds the change',
  FLUSH_FAILED: 'The disk could not be flushed',
  CLIENT_NOT_FOUND: 'There is no client of that id',
  CUT_TIMED_OUT: 'A disk did not answer in time',
  EXPORT_IN_USE: 'Clients or backups use the export',
  STOP_TIMED_OUT: 'A disk did not answer while the server stopped',
  SHUTTING_DOWN: 'The server is stopping',
  INTERNAL: 'A bug in tidemark',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof errorTitles;

/** An error that a caller can branch on. `message` says what failed, `hint` says how to fix it. */
export class CodedError extends Error {
  override readonly name = 'CodedError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly hint = '',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
