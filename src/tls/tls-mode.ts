import { tlsModes } from '../api/values.js';

export { tlsModes };
export type TlsMode = (typeof tlsModes)[number];
