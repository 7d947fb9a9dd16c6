import { NbdConnectionError } from './errors.js';

/** The ways in which a connection to the server at `place` fails. */

export function givenUp(): NbdConnectionError {
  return new NbdConnectionError('the connection to the NBD server was given up');
}

export function silent(place: string, seconds: number): NbdConnectionError {
  return new NbdConnectionError(`the NBD server at ${place} was silent for ${seconds} s`);
}

export function closedBy(place: string, hint?: string): NbdConnectionError {
  return new NbdConnectionError(`the NBD server at ${place} closed the connection`, hint);
}

export function cannot(
  verb: 'connect' | 'talk',
  place: string,
  cause: NodeJS.ErrnoException,
  hint?: string,
): NbdConnectionError {
  const message = `cannot ${verb} to the NBD server at ${place}: ${cause.code ?? cause.message}`;
  return new NbdConnectionError(message, hint, { cause });
}
