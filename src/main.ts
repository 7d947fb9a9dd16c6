#!/usr/bin/env node
import { fileURLToPath } from 'node:url';
import { restartWithThreads } from './server/server-threads.js';

// Before anything else is loaded, and before the standard streams are touched.
if (process.argv[2] === 'serve') restartWithThreads(fileURLToPath(import.meta.url));
const { runCli } = await import('./cli/program.js');

process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  // Whoever reads no further has seen enough, and what was asked for is done all the same.
  if (code === 'EPIPE') return;
  process.stderr.write(`tidemark: the answer could not be written: ${message} (make room there)\n`);
  process.exitCode = 1;
});

process.exitCode = (await runCli(process.argv.slice(2))) || process.exitCode;
