import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { CodedError } from '../base/coded-error.js';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;

/**
 * The socket of the client that started this program, directly or through inetd. It is both stdin and stdout.
 * @throws CodedError ADDRESS_UNUSABLE
 */
export function stdioSocket(): Socket {
  if (!stdioIsSocket()) {
    throw new CodedError(
      'ADDRESS_UNUSABLE',
      'stdin and stdout are not the same socket',
      'start tidemark from a client that connects to a command (nbd_connect_command), or from inetd',
    );
  }
  // Reading is left to the connection that adopts the socket.
  const options = { fd: STDIN, readable: true, writable: true, allowHalfOpen: true, manualStart: true };
  return new Socket(options);
}

export function stdioIsSocket(): boolean {
  return fstatSync(STDIN).isSocket() && areOne(STDIN, STDOUT);
}

/** Whether stderr is the socket of the client, as it is under inetd. */
export function stderrIsClient(): boolean {
  return areOne(STDIN, STDERR);
}

function areOne(a: number, b: number): boolean {
  const [first, second] = [fstatSync(a, { bigint: true }), fstatSync(b, { bigint: true })];
  return first.dev === second.dev && first.ino === second.ino;
}
