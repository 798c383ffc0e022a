import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Place, Share } from './share.ts';

test('the last place is given, the next request is refused, and a place that was left is free', () => {
  const share = new Share({ requestsMax: 2, bytesMax: 100 });
  const first = share.enter(0, 0);
  expect(first).toBeDefined();
  expect(share.enter(0, 0)).toBeDefined();
  expect(share.enter(0, 0)).toBeUndefined();
  first?.leave(10);
  expect(share.enter(0, 10)).toBeDefined();
  expect(share.stats()).toMatchObject({ underWay: 2, max: 2, refused: 1 });
});

test('bytes up to the bound are held, one more is not; a body by itself always is', () => {
  const share = new Share({ requestsMax: 9, bytesMax: 100 });
  const large = share.enter(500, 0);
  expect(large).toBeDefined();
  expect(share.enter(1, 0)).toBeUndefined();
  large?.leave(0);
  const place = share.enter(60, 0);
  expect(place?.holds(40)).toBe(true);
  expect(place?.holds(1)).toBe(false);
  expect(share.enter(1, 0)).toBeUndefined();
  expect(share.enter(0, 0)).toBeDefined();
});

test('who has left twice has left once, and holds nothing more', () => {
  const share = new Share({ requestsMax: 2, bytesMax: 100 });
  const place = share.enter(10, 0);
  share.enter(10, 0);
  place?.leave(0);
  place?.leave(0);
  expect(place?.holds(10)).toBe(false);
  expect(share.stats()).toMatchObject({ underWay: 1, bytesHeld: 10 });
});

test('when to come again follows from how long places were taken of late', () => {
  const share = new Share({ requestsMax: 1, bytesMax: 0 });
  for (let n = 0; n < 200; n++) share.enter(0, n)?.leave(n + 1_500);
  expect(share.retryAfterMs).toBeCloseTo(1_500, 0);
  for (let n = 0; n < 200; n++) share.enter(0, n)?.leave(n + 900_000);
  expect(share.retryAfterMs).toBe(30_000);
});

test('whoever comes and goes in whatever order, the bounds hold and everything comes back', () => {
  const step = fc.record({ leaves: fc.nat(9), bytes: fc.nat(80), more: fc.nat(80) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const share = new Share({ requestsMax: 5, bytesMax: 100 });
      const inside: Place[] = [];
      for (const { leaves, bytes, more } of steps) {
        if (leaves < 4) inside.splice(leaves, 1)[0]?.leave(0);
        const place = share.enter(bytes, 0);
        if (place !== undefined) {
          place.holds(more);
          inside.push(place);
        }
        expect(share.stats().underWay).toBe(inside.length);
        expect(inside.length).toBeLessThanOrEqual(5);
        expect(share.stats().bytesHeld).toBeLessThanOrEqual(100);
      }
      for (const place of inside) place.leave(0);
      expect(share.stats()).toMatchObject({ underWay: 0, bytesHeld: 0 });
    }),
  );
});
