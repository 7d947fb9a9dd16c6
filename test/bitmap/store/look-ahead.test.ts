import { expect, test } from 'vitest';
import { LookAhead } from '../../../src/bitmap/store/look-ahead.js';

test('one region is marked ahead before anything is measured', () => {
  expect(new LookAhead(256).regions).toBe(1);
});

test('as many regions are marked as the writer reaches in two seconds', () => {
  const lookAhead = new LookAhead(256);
  lookAhead.noteRegion(160);
  expect(lookAhead.regions).toBe(13);
  lookAhead.noteRegion(16_000);
  expect(lookAhead.regions).toBe(13);
  lookAhead.noteRegion(10);
  expect(lookAhead.regions).toBe(200);
});

test('after a slow commit the reach is four times its duration, and decays again', () => {
  const lookAhead = new LookAhead(256);
  lookAhead.noteRegion(100);
  lookAhead.noteCommit(2000);
  lookAhead.noteCommit(2);
  expect(lookAhead.regions).toBe(80);
  lookAhead.tick();
  expect(lookAhead.regions).toBe(20);
  for (let i = 0; i < 20; i++) lookAhead.tick();
  expect(lookAhead.regions).toBe(1);
});

test('at least one region is marked, and at most the limit', () => {
  const lookAhead = new LookAhead(4);
  lookAhead.noteRegion(0);
  expect(lookAhead.regions).toBe(4);
  expect(new LookAhead(0).regions).toBe(1);
});
