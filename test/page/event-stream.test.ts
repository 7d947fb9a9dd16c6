import { expect, test } from 'vitest';
import { EventCutter } from '../../src/page/event-stream.js';

const stream =
  ': following\n\nevent: export-added\ndata: {"export":"ä"}\n\n:\n\nid: 7\nevent: x\ndata: {"a":1}\n\nevent: y\nda';

test('a stream is cut into its events, wherever its pieces end', () => {
  for (let at = 0; at <= stream.length; at++) {
    const cutter = new EventCutter();
    const found = [...cutter.push(stream.slice(0, at)), ...cutter.push(stream.slice(at))];
    expect(found, String(at)).toEqual(['{"export":"ä"}', '{"a":1}']);
  }
});
