import { resolve } from 'node:path';
import { checkImage } from '../storage/image/open-image.js';
import { checkHooks } from '../watch/hooks/hooks.js';
import { checkExports } from './check-exports.js';
import type { ServerConfig } from './config.js';
import { readCredentials } from './groundwork.js';
import { readGivenToken } from './http-token.js';
import { ImagePlaces } from './image-places.js';
import { checkSocketPaths } from './nbd-addresses.js';

/**
 * Checks what a start with this configuration would find, without making, locking or opening anything that a server may
 * be using. @throws CodedError of the first fault
 */
export async function checkConfig(config: ServerConfig): Promise<void> {
  const { exports, hooks, http, httpTokenFile } = config;
  await checkSocketPaths(config);
  const { tls } = await readCredentials(config);
  if (http && httpTokenFile !== undefined) await readGivenToken(httpTokenFile);
  await ImagePlaces.open(config);
  await checkHooks(hooks);
  checkExports(exports, tls !== undefined);
  for (const { spec } of exports) {
    const { readOnly = false, sizeBytes } = spec;
    await checkImage({ path: resolve(spec.path), readOnly, createSizeBytes: sizeBytes });
  }
}
