import { printable } from '../base/printable.js';
import { NbdError, OptionError } from '../protocol/constants.js';

/** An error of the client. `message` says what went wrong, `hint` how to fix it ('' when there is no advice). */
export abstract class NbdClientError extends Error {
  constructor(
    message: string,
    readonly hint = '',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The text is not an NBD URI, or asks for something that this client does not support. */
export class NbdUriError extends NbdClientError {
  override readonly name = 'NbdUriError';
}

/** The connection failed or was lost. */
export class NbdConnectionError extends NbdClientError {
  override readonly name = 'NbdConnectionError';
}

/** TLS could not be set up as the URI asks for it, and would not be if it were tried again. */
export class NbdTlsError extends NbdClientError {
  override readonly name = 'NbdTlsError';
}

/** The server broke the protocol. The client stops trusting it and closes the connection. */
export class NbdProtocolError extends NbdClientError {
  override readonly name = 'NbdProtocolError';

  constructor(violation: string) {
    super(`the server broke the NBD protocol: it ${violation}`);
  }
}

/** The server does not support the command for this export. */
export class NbdUnsupportedError extends NbdClientError {
  override readonly name = 'NbdUnsupportedError';
}

function nameOf(table: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.keys(table).find((name) => table[name] === value);
}

const hintByOptionError = new Map<number, string>([
  [
    OptionError.UNKNOWN,
    'nbdinfo --list shows what the server exports; it may hide an export from clients without TLS or without rights',
  ],
  [OptionError.POLICY, 'ask the operator of the server for the right'],
  [OptionError.TLS_REQD, 'the server requires TLS: use a URI that begins with nbds: or nbds+unix:'],
]);

/** The server refused an option of the handshake. */
export class NbdOptionError extends NbdClientError {
  override readonly name = 'NbdOptionError';

  constructor(
    /** What was asked for, as it reads after "the server refused". */
    what: string,
    /** An OptionError, or an unknown number. */
    readonly error: number,
    /** In the server's own words; may be empty. */
    readonly serverMessage: string,
  ) {
    const code = nameOf(OptionError, error) ?? `error ${error}`;
    super(`the server refused ${what}: ${withMessage(code, serverMessage)}`, hintByOptionError.get(error));
  }
}

/** The server answered a request with an error. The connection stays open. */
export class NbdRemoteError extends NbdClientError {
  override readonly name = 'NbdRemoteError';
  /** For example `ENOSPC`. */
  readonly code: string;

  constructor(
    /** What failed, as it reads after "the server failed". */
    what: string,
    readonly errno: number,
    /** In the server's own words; may be empty. */
    readonly serverMessage: string,
  ) {
    // An unknown number counts as EINVAL ("Error values").
    const code = nameOf(NbdError, errno) ?? 'EINVAL';
    super(`the server failed ${what}: ${withMessage(code, serverMessage)}`);
    this.code = code;
  }
}

function withMessage(code: string, message: string): string {
  return message === '' ? code : `${code}, ${printable(message)}`;
}
