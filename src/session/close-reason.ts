/** The reasons for which a connection ends when all is well: the client has left. */
export const CLIENT_DISCONNECTED = 'the client disconnected';
export const CLIENT_CLOSED = 'the client closed the connection';
export const CLIENT_ENDED_HANDSHAKE = 'the client ended the handshake';

const goodbyes: readonly unknown[] = [CLIENT_DISCONNECTED, CLIENT_CLOSED, CLIENT_ENDED_HANDSHAKE];

/** Whether the client left by itself. */
export function isGoodbye(reason: string | undefined): boolean {
  return goodbyes.includes(reason);
}
