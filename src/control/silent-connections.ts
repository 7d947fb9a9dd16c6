import type { Server, Socket } from 'node:net';

/** Connections whose clients have not sent anything yet. A browser opens some ahead, in case it needs them. */
export class SilentConnections {
  private readonly all = new Set<Socket>();

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.all.add(socket);
      socket.once('close', () => this.all.delete(socket));
    });
  }

  hangUp(): void {
    for (const socket of this.all) if (socket.bytesRead === 0) socket.destroy();
  }
}
