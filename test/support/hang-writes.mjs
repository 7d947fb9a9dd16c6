// Loaded into a server before the server itself. Writes in the thread pool to images whose path begins with
// TIDEMARK_HANGS then wait for a pipe to which nobody writes, as if their disk had hung.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { TIDEMARK_HANGS: path = '', TIDEMARK_PIPE: pipe = '' } = process.env;
const silent = fs.openSync(pipe, 'r+');
const { read, write } = fs;

/**
 * @param {number} fd @param {Buffer} source @param {number} start @param {number} length @param {number} offset @param
 * {any} done
 */
function writeOrHang(fd, source, start, length, offset, done) {
  const hangs = fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
  if (hangs) read(silent, Buffer.alloc(1), 0, 1, null, done);
  else write(fd, source, start, length, offset, done);
}

Object.assign(fs, { write: writeOrHang });
syncBuiltinESMExports();
