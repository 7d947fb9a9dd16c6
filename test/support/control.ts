import { request } from 'node:http';
import type { Bitmap, Extents } from '../../src/api/bitmap.js';
import type { Problem } from '../../src/api/shapes.js';
import type { Action, HeldWrites } from '../../src/api/transaction.js';
import type { Range } from './image.js';

/** An answer of the control API with a status of 400 or more. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

export function controlOf(server: { readonly control: string }): Control {
  return new Control(server.control);
}

/**
 * Talks to the control API of a server on its unix socket, over one connection per call. Calls reject with a Refusal.
 */
export class Control {
  constructor(private readonly socketPath: string) {}

  async transact(actions: readonly Action[]): Promise<HeldWrites> {
    const { heldWrites } = await this.call<{ heldWrites: HeldWrites }>('POST', '/v1/transactions', {
      actions,
    });
    return heldWrites;
  }

  async bitmaps(exportName: string): Promise<Bitmap[]> {
    return (await this.call<{ bitmaps: Bitmap[] }>('GET', bitmapsOf(exportName))).bitmaps;
  }

  bitmap(exportName: string, bitmap: string): Promise<Bitmap> {
    return this.call('GET', `${bitmapsOf(exportName)}/${encodeURIComponent(bitmap)}`);
  }

  /** The dirty ranges of a bitmap, from any number of pages with at most `pageExtents` each. */
  async dirtyRanges(exportName: string, bitmap: string, pageExtents = 10_000): Promise<Range[]> {
    const url = `${bitmapsOf(exportName)}/${encodeURIComponent(bitmap)}/extents?limit=${pageExtents}`;
    const dirty: Range[] = [];
    for (let offset: number | null = 0; offset !== null; ) {
      const page: Extents = await this.call('GET', `${url}&offset=${offset}`);
      for (const extent of page.extents) if (extent.dirty) append(dirty, extent);
      offset = page.nextOffset;
    }
    return dirty;
  }

  /** Makes any call. Resolves to the document in the answer, or to undefined if there is none. */
  async call<Answer>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Answer> {
    const { status, text } = await this.exchange(method, path, body);
    const answer = text === '' ? undefined : JSON.parse(text);
    if (status >= 400) throw new Refusal(answer);
    return answer;
  }

  private exchange(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const asking = request({ socketPath: this.socketPath, method, path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.once('end', () => resolve({ status: response.statusCode!, text })).once('error', reject);
      });
      asking.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

const bitmapsOf = (exportName: string) => `/v1/exports/${encodeURIComponent(exportName)}/bitmaps`;

/** Joins the two parts of a range that continues on the next page. */
function append(ranges: Range[], { offset, length }: Range): void {
  const last = ranges.at(-1);
  if (last && last.offset + last.length === offset) {
    ranges[ranges.length - 1] = { offset: last.offset, length: last.length + length };
  } else ranges.push({ offset, length });
}
