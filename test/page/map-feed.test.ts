import { expect, test, vi } from 'vitest';
import type { DiskMap } from '../../src/api/disk-map.js';
import { ApiClient } from '../../src/page/api-client.js';
import { loadSlices, MapFeed, type MapNews, type MapWish } from '../../src/page/map-feed.js';

const wish: MapWish = { exportName: 'a/b', offset: 4096, length: 12288, sliceBytes: 8192, bitmap: 'nightly' };

/** A server that answers each request for a map with the next of `answers`, and the last one again and again. */
function serverWith(...answers: (Partial<DiskMap> | number)[]) {
  const asked: string[] = [];
  const send = async (path: string) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push(path);
    if (typeof answer === 'number') return new Response('{"detail":"no"}', { status: answer });
    return new Response(JSON.stringify(answer));
  };
  return { client: new ApiClient(send as unknown as typeof fetch, undefined), asked };
}

const first = { offset: 4096, length: 8192, allocatedBytes: [4096, 100], dirtyBytes: [0, 100], nextOffset: 12288 };
const second = { offset: 12288, length: 4096, allocatedBytes: [50], dirtyBytes: [4096], nextOffset: null };

test('a slice that two answers cover in part gets the sum of both', async () => {
  const { client, asked } = serverWith(first, second);
  expect(await loadSlices(client, wish)).toEqual({
    offset: 4096,
    length: 12288,
    sliceBytes: 8192,
    bitmap: 'nightly',
    allocatedBytes: [4096, 150],
    dirtyBytes: [0, 4196],
  });
  expect(asked).toEqual([
    '/v1/exports/a%2Fb/map?offset=4096&length=12288&sliceBytes=8192&bitmap=nightly',
    '/v1/exports/a%2Fb/map?offset=12288&length=4096&sliceBytes=8192&bitmap=nightly',
  ]);
});

test('without a bitmap, nothing is said about what is dirty', async () => {
  const { bitmap: _none, ...plain } = wish;
  const { dirtyBytes: _dirty, ...bare } = second;
  const { client } = serverWith({ ...bare, offset: 4096 });
  expect(await loadSlices(client, plain)).not.toHaveProperty('dirtyBytes');
});

const whole = { ...second, offset: 4096, length: 12288 };

function startFeed(...answers: Parameters<typeof serverWith>) {
  const server = serverWith(...answers);
  const news: MapNews[] = [];
  const feed = new MapFeed(server.client, (one) => void news.push(one), 20);
  return { ...server, news, feed };
}

test('a feed shows what is wanted, and loads once more however often it is refreshed meanwhile', async () => {
  const { feed, news, asked } = startFeed(whole);
  feed.want(wish);
  await vi.waitFor(() => expect(news).toHaveLength(1));
  for (let i = 0; i < 10; i++) feed.refresh();
  await vi.waitFor(() => expect(news).toHaveLength(2));
  expect(asked).toHaveLength(2);
  feed.stop();
});

test('what is under way for another wish is given up', async () => {
  const { feed, news } = startFeed(whole);
  feed.want(wish);
  feed.want({ ...wish, bitmap: 'weekly' });
  await vi.waitFor(() => expect(news).not.toEqual([]));
  expect(news.map(({ slices }) => slices?.bitmap)).toEqual(['weekly']);
  feed.stop();
});

test('a fault is told, and the next refresh tries again', async () => {
  const { feed, news } = startFeed(503, whole);
  feed.want(wish);
  await vi.waitFor(() => expect(news).toEqual([{ fault: 'no' }]));
  feed.refresh();
  await vi.waitFor(() => expect(news.at(-1)).toHaveProperty('slices'));
  feed.stop();
});

test('after the stop, nothing is loaded', async () => {
  const { feed, news, asked } = startFeed(whole);
  feed.want(wish);
  await vi.waitFor(() => expect(news).toHaveLength(1));
  feed.refresh();
  feed.stop();
  feed.refresh();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([news.length, asked.length]).toEqual([1, 1]);
});
