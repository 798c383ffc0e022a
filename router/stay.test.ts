import { expect, test } from 'vitest';
import { Admission } from './admission.ts';
import type { Edge } from './edge.ts';
import { isLook, Stay } from './stay.ts';

const ORIGIN = 'http://127.0.0.1:7101';

test('a look at an edge is known by its whole path, whatever a client writes elsewhere', () => {
  const trace = `/.domicile/console/traces/${'a'.repeat(32)}`;
  for (const path of ['/.domicile/health', '/.domicile/console', trace]) {
    expect(isLook(ORIGIN + path), path).toBe(true);
    for (const other of [`/users${path}`, `/users?x=${path}`, `/${path}`, `/users#${path}`]) {
      expect(isLook(ORIGIN + other), other).toBe(false);
    }
  }
  expect(isLook(`${ORIGIN}/.domicile/health/x`)).toBe(false);
});

test('only health itself is served without a place', () => {
  const admission = new Admission({ requestsMax: 1, heldBytesMax: 1, queueMsMax: 1_000 });
  const limits = { bodyBytesMax: 1 };
  const edge = { admission, here: 'eu', limits, now: () => 0 } as unknown as Edge;
  const begin = (path: string) => new Stay(edge, new Request(ORIGIN + path)).begin()?.failure.kind;
  expect(begin('/users/1')).toBeUndefined();
  expect(begin('/users/1?x=/.domicile/health')).toBe('overloaded');
  expect(begin('/users/.domicile/health')).toBe('overloaded');
  expect(begin('/.domicile/health')).toBeUndefined();
});
