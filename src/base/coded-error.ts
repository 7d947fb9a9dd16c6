/**
 * Every refusal that an operator, an agent or a script may meet outside the NBD data path, with the HTTP status it
 * has there. The code is stable: callers branch on it. The text of an instance says what happened to what.
 */
export const errorCatalogue = {
  CONFIG_INVALID: { status: 400, title: 'The configuration is not valid' },
  USAGE_INVALID: { status: 400, title: 'The command line is not valid' },
  ADDRESS_UNUSABLE: { status: 409, title: 'An address cannot be listened on' },
  NO_SERVER: { status: 503, title: 'No server answers' },
  AGENT_FAILED: { status: 500, title: 'A command on a folder of backups failed' },
  NBD_FAILED: { status: 502, title: 'An NBD server could not be used' },
  BAD_REQUEST: { status: 400, title: 'The request is not well formed' },
  UNAUTHORIZED: { status: 401, title: 'A valid token is required' },
  FOREIGN_REQUEST: { status: 403, title: 'A web page may have sent the request' },
  NOT_FOUND: { status: 404, title: 'There is no such resource' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'The resource has no such method' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The body is not JSON' },
  EXPORT_NOT_FOUND: { status: 404, title: 'There is no export of that name' },
  EXPORT_EXISTS: { status: 409, title: 'An export of that name is already served' },
  EXPORT_INVALID: { status: 400, title: 'The export cannot be described like that' },
  IMAGE_UNUSABLE: { status: 400, title: 'The image cannot be opened or served' },
  IMAGE_NOT_RAW: { status: 400, title: 'The image looks like one of another format' },
  IMAGE_NOT_ALLOWED: { status: 403, title: 'The image lies where the server takes none from' },
  IMAGE_LOCKED: { status: 409, title: 'Another process uses the image' },
  BITMAP_NOT_FOUND: { status: 404, title: 'There is no bitmap of that name' },
  BITMAP_EXISTS: { status: 409, title: 'A bitmap of that name exists already' },
  BITMAP_INVALID: { status: 400, title: 'A bitmap cannot be made like that' },
  BITMAP_BUSY: { status: 409, title: 'The bitmap is in use by another operation' },
  BITMAP_INCONSISTENT: { status: 409, title: 'The bitmap is inconsistent' },
  BITMAP_INCOMPATIBLE: { status: 409, title: 'The bitmaps do not describe the same disk' },
  BITMAP_HAS_SUCCESSOR: { status: 409, title: 'The bitmap already has a successor' },
  BITMAP_NO_SUCCESSOR: { status: 409, title: 'The bitmap has no successor' },
  BITMAP_DISABLED: { status: 409, title: 'The bitmap records nothing' },
  BACKUP_NOT_FOUND: { status: 404, title: 'There is no backup of that id' },
  BACKUP_ENDED: { status: 409, title: 'The backup has ended' },
  BACKUP_INVALID: { status: 400, title: 'A backup cannot be begun like that' },
  BASE_MISMATCH: { status: 409, title: 'The bitmap does not count from that backup' },
  SCRATCH_UNUSABLE: { status: 503, title: 'The scratch directory cannot be used' },
  STORE_UNUSABLE: { status: 503, title: 'The store of bitmaps cannot be used' },
  STORE_IN_DOUBT: { status: 503, title: 'It is not known whether the store holds the change' },
  FLUSH_FAILED: { status: 503, title: 'The disk could not be flushed' },
  CLIENT_NOT_FOUND: { status: 404, title: 'There is no client of that id' },
  CUT_TIMED_OUT: { status: 503, title: 'A disk did not answer in time' },
  EXPORT_IN_USE: { status: 409, title: 'Clients or backups use the export' },
  STOP_TIMED_OUT: { status: 503, title: 'A disk did not answer while the server stopped' },
  SHUTTING_DOWN: { status: 503, title: 'The server is stopping' },
  INTERNAL: { status: 500, title: 'A bug in tidemark' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

/** A refusal that a caller can branch on. `message` says what happened, `hint` how to mend it. */
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
