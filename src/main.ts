#!/usr/bin/env node
import { fileURLToPath } from 'node:url';
import { restartWithThreads } from './server/server-threads.js';

// The restart comes before anything else is loaded and before the standard streams are touched.
if (process.argv[2] === 'serve') restartWithThreads(fileURLToPath(import.meta.url));
const { runCli } = await import('./cli/program.js');

process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  // The reader has seen enough; the command itself is done.
  if (code === 'EPIPE') return;
  process.stderr.write(`tidemark: cannot write to stdout: ${message} (free some space there)\n`);
  process.exitCode = 1;
});

process.exitCode = (await runCli(process.argv.slice(2))) || process.exitCode;
