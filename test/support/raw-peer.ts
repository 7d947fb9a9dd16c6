import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface RawPeer {
  readonly socket: Socket;
  /** What has arrived so far, one character for each byte. */
  readonly text: () => string;
  readonly closed: Promise<unknown>;
}

/** A connection that sends only what the test says. */
export function dial(address: { path: string } | { host: string; port: number }): RawPeer {
  const socket = connect(address).setEncoding('latin1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (part: string) => {
    text += part;
  });
  // It does not matter here how the connection ends.
  socket.on('error', () => {});
  return { socket, text: () => text, closed: new Promise((resolve) => socket.once('close', resolve)) };
}
