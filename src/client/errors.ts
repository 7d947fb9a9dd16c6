import { printable } from '../base/printable.js';
import { NbdError, OptionError } from '../protocol/constants.js';

/** What goes wrong between this client and a server. `message` says what, `hint` how to mend it ('' when nothing is known). */
export abstract class NbdClientError extends Error {
  constructor(
    message: string,
    readonly hint = '',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Not an NBD URI, or one that asks for what this client does not speak. */
export class NbdUriError extends NbdClientError {
  override readonly name = 'NbdUriError';
}

/** There is no connection, or there is none any more. */
export class NbdConnectionError extends NbdClientError {
  override readonly name = 'NbdConnectionError';
}

/** The server broke the protocol. Nothing it says is trusted from then on: the connection is ended. */
export class NbdProtocolError extends NbdClientError {
  override readonly name = 'NbdProtocolError';

  constructor(violation: string) {
    super(`the server broke the NBD protocol: it ${violation}`);
  }
}

/** The server does not offer that command for the export. */
export class NbdUnsupportedError extends NbdClientError {
  override readonly name = 'NbdUnsupportedError';
}

function nameOf(table: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.keys(table).find((name) => table[name] === value);
}

const hintByOptionError = new Map<number, string>([
  [OptionError.UNKNOWN, 'nbdinfo --list shows what the server exports'],
  [OptionError.TLS_REQD, 'the server wants TLS, which this client does not speak'],
]);

/** The server refused an option of the handshake. */
export class NbdOptionError extends NbdClientError {
  override readonly name = 'NbdOptionError';

  constructor(
    /** What was asked for, to stand behind "the server refused". */
    what: string,
    /** OptionError, or a number that is not known here. */
    readonly error: number,
    /** In the server's own words; may be empty. */
    readonly serverMessage: string,
  ) {
    const code = nameOf(OptionError, error) ?? `error ${error}`;
    super(`the server refused ${what}: ${withMessage(code, serverMessage)}`, hintByOptionError.get(error));
  }
}

/** The server answered a request with an error; the connection goes on. */
export class NbdRemoteError extends NbdClientError {
  override readonly name = 'NbdRemoteError';
  /** `ENOSPC` and the like. */
  readonly code: string;

  constructor(
    /** What failed, to stand behind "the server failed". */
    what: string,
    readonly errno: number,
    /** In the server's own words; may be empty. */
    readonly serverMessage: string,
  ) {
    // What is not in the list counts as EINVAL ("Error values").
    const code = nameOf(NbdError, errno) ?? 'EINVAL';
    super(`the server failed ${what}: ${withMessage(code, serverMessage)}`);
    this.code = code;
  }
}

function withMessage(code: string, message: string): string {
  return message === '' ? code : `${code}, ${printable(message)}`;
}
