import { expect, test } from 'vitest';
import {
  LINE_EVERY_MS,
  LINES_AT_ONCE_MAX,
  RefusalLog,
  type RefusedRequest,
} from './refusal-log.ts';

const REFUSED: RefusedRequest = {
  reason: 'not-found',
  status: 404,
  route: undefined,
  home: undefined,
  from: undefined,
  passedOver: [],
  trace: {},
};

function logTo(lines: Record<string, unknown>[]) {
  return new RefusalLog((line) => lines.push(line));
}

test('a line says why, of which route, and in which trace', () => {
  const lines: Record<string, unknown>[] = [];
  logTo(lines).refused(
    {
      reason: 'session-floor-unmet',
      status: 503,
      route: { method: 'GET', pattern: '/users/:user' },
      home: 'eu',
      from: 'us',
      passedOver: [{ node: 'eu-b', because: 'behind' }],
      trace: { trace_id: 'a', span_id: 'b' },
    },
    0,
  );
  expect(lines).toEqual([
    {
      level: 'warn',
      event: 'refused',
      reason: 'session-floor-unmet',
      status: 503,
      method: 'GET',
      route: '/users/:user',
      home: 'eu',
      from: 'us',
      passed_over: ['eu-b:behind'],
      trace_id: 'a',
      span_id: 'b',
    },
  ]);
  logTo(lines).refused(REFUSED, 0);
  expect(lines[1]).toEqual({ level: 'info', event: 'refused', reason: 'not-found', status: 404 });
});

test('of a crowd of one reason some are told, with how many were not', () => {
  const lines: Record<string, unknown>[] = [];
  const log = logTo(lines);
  for (let i = 0; i < LINES_AT_ONCE_MAX + 7; i++) log.refused(REFUSED, 0);
  expect(lines.length).toBe(LINES_AT_ONCE_MAX);
  log.refused(REFUSED, LINE_EVERY_MS - 1);
  expect(lines.length).toBe(LINES_AT_ONCE_MAX);
  log.refused(REFUSED, LINE_EVERY_MS);
  expect(lines.length).toBe(LINES_AT_ONCE_MAX + 1);
  expect(lines.at(-1)).toMatchObject({ untold: 8 });
  log.refused(REFUSED, 2 * LINE_EVERY_MS);
  expect(lines.at(-1)).not.toHaveProperty('untold');
});

test('a crowd of one reason hides no other, and is forgotten after a while', () => {
  const lines: Record<string, unknown>[] = [];
  const log = logTo(lines);
  for (let i = 0; i < 1_000; i++) log.refused(REFUSED, 0);
  log.refused({ ...REFUSED, reason: 'home-unknown' }, 0);
  expect(lines.at(-1)).toMatchObject({ reason: 'home-unknown' });
  const laterMs = 1_000 * LINE_EVERY_MS;
  for (let i = 0; i < 1_000; i++) log.refused(REFUSED, laterMs);
  expect(lines.length).toBe(LINES_AT_ONCE_MAX * 2 + 1);
});
