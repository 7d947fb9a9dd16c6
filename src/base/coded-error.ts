/**
 * Every error that an operator, an agent or a script can get outside the NBD data path, with its title. Codes are
 * stable, because callers branch on them. The message of an error gives the particulars.
 */
export const errorTitles = {
  CONFIG_INVALID: 'The configuration is not valid',
  USAGE_INVALID: 'The command line is not valid',
  ADDRESS_UNUSABLE: 'The server cannot listen on an address',
  TLS_UNUSABLE: 'Certificates or keys cannot be used',
  NO_SERVER: 'No server answers',
  AGENT_FAILED: 'A command on a folder of backups failed',
  NBD_FAILED: 'An NBD server could not be used',
  BAD_REQUEST: 'The request is malformed',
  UNAUTHORIZED: 'A valid token is required',
  FORBIDDEN: 'The caller may not do that',
  FOREIGN_REQUEST: 'A web page may have sent the request',
  NOT_FOUND: 'There is no such resource',
  METHOD_NOT_ALLOWED: 'The resource does not support that method',
  UNSUPPORTED_MEDIA_TYPE: 'The body is not JSON',
  EXPORT_NOT_FOUND: 'There is no export with that name',
  EXPORT_EXISTS: 'An export with that name is already served',
  EXPORT_INVALID: 'The description of the export is invalid',
  IMAGE_UNUSABLE: 'The image cannot be opened or served',
  IMAGE_NOT_RAW: 'The image looks like another format',
  IMAGE_NOT_ALLOWED: 'The image is in a place that the server does not allow',
  IMAGE_LOCKED: 'Another process is using the image',
  BITMAP_NOT_FOUND: 'There is no bitmap with that name',
  BITMAP_EXISTS: 'A bitmap with that name already exists',
  BITMAP_INVALID: 'The description of the bitmap is invalid',
  BITMAP_BUSY: 'The bitmap is in use by another operation',
  BITMAP_INCONSISTENT: 'The bitmap is inconsistent',
  BITMAP_INCOMPATIBLE: 'The bitmaps do not describe the same disk',
  BITMAP_HAS_SUCCESSOR: 'The bitmap already has a successor',
  BITMAP_NO_SUCCESSOR: 'The bitmap has no successor',
  BITMAP_DISABLED: 'The bitmap is not recording',
  BACKUP_NOT_FOUND: 'There is no backup with that ID',
  BACKUP_ENDED: 'The backup has ended',
  BACKUP_INVALID: 'The description of the backup is invalid',
  BASE_MISMATCH: 'The bitmap does not start from that backup',
  SCRATCH_UNUSABLE: 'The scratch directory cannot be used',
  STORE_UNUSABLE: 'The bitmap store cannot be used',
  STORE_IN_DOUBT: 'It is unknown whether the store holds the change',
  FLUSH_FAILED: 'The disk could not be flushed',
  CLIENT_NOT_FOUND: 'There is no client with that ID',
  TOKEN_NOT_FOUND: 'There is no token with that ID',
  THRESHOLD_NOT_FOUND: 'There is no threshold with that name',
  TOO_MANY_TOKENS: 'There are as many tokens as a server keeps',
  CUT_TIMED_OUT: 'A disk did not answer in time',
  EXPORT_IN_USE: 'Clients or backups are using the export',
  STOP_TIMED_OUT: 'A disk did not answer while the server was stopping',
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
