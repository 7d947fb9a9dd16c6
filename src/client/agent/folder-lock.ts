import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { AgentError } from './agent-error.js';

/**
 * Makes the caller the only one on this machine who changes that folder. The lock is a socket without a file (an abstract
 * one), so the kernel takes it away when the process dies. Resolves to what releases it. @throws AgentError
 */
export async function lockFolder(path: string): Promise<() => Promise<void>> {
  const { dev, ino } = await stat(path);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') reject(error);
      const hint = 'wait until it has ended';
      reject(new AgentError(`another tidemark is writing to ${path}`, hint, { cause: error }));
    });
    server.listen(`\0tidemark-backups-${dev}-${ino}`, resolve);
  });
  server.unref();
  return () => new Promise((resolve) => server.close(() => resolve()));
}
