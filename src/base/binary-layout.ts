import { createRequire } from 'node:module';

/**
 * Required rather than imported. Before Node 20 imports a CommonJS module, it searches the source for names of exports,
 * in JavaScript: in each thread, this takes 30 ms of processor time for buffer-layout.
 */
const bufferLayout = createRequire(import.meta.url)('buffer-layout') as typeof import('buffer-layout');

export const { blob, nu64be, struct, u16be, u32be } = bufferLayout;
