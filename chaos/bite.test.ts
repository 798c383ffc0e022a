import { describe, expect, test } from 'vitest';
import {
  all,
  copiesAged,
  during,
  hampered,
  lagged,
  promoted,
  ranAlone,
  reconnected,
  slower,
} from './bite.ts';
import type { Operation } from './history.ts';
import type { Look } from './run-record.ts';
import type { Seen } from './scenario.ts';

function operation(changed: Partial<Operation>): Operation {
  return {
    id: 0,
    client: 0,
    session: 0,
    subject: 'ada',
    home: 'eu',
    edge: 'us',
    action: { kind: 'notice-read' },
    level: 'session',
    keyed: false,
    attempts: 1,
    invokedAtMs: 1_000,
    endedAtMs: 1_100,
    outcome: { kind: 'ok', shown: { kind: 'nothing' } },
    ...changed,
  };
}
const FAIL = { kind: 'fail', because: 'refused' } as const;

function seen(operations: Operation[], looks: Look[] = []): Seen {
  const fault = { says: 'cut', kind: 'cut', regions: ['eu'], fromMs: 1_000, untilMs: 2_000 };
  return { operations, looks, incidents: [], faults: [fault] };
}
const look = (atMs: number, more: Partial<Look>): Look => ({ atMs, region: 'eu', ...more });

describe('operations that did not go well', () => {
  test('count only while a fault lasted, to the millisecond', () => {
    const at = (invokedAtMs: number, endedAtMs: number) =>
      hampered(seen([operation({ invokedAtMs, endedAtMs, outcome: FAIL })]));
    expect(at(500, 999)).toEqual([]);
    expect(at(500, 1_000)).toHaveLength(1);
    expect(at(2_000, 2_500)).toHaveLength(1);
    expect(at(2_001, 2_500)).toEqual([]);
  });

  test('are those refused, unknown, or repeated', () => {
    expect(hampered(seen([operation({})]))).toEqual([]);
    expect(hampered(seen([operation({ attempts: 2 })]))).toEqual([
      '1 of 1 operations did not go well: 1 repeated',
    ]);
  });

  test('are chosen by home, edge and level', () => {
    const failed = seen([operation({ outcome: FAIL })]);
    expect(hampered(failed, { home: 'eu', edge: 'us', abroad: true })).toHaveLength(1);
    expect(hampered(failed, { home: 'us' })).toEqual([]);
    expect(hampered(failed, { level: 'strong' })).toEqual([]);
    expect(hampered(failed, { abroad: false })).toEqual([]);
  });
});

test('slow is what took longer, not as long', () => {
  expect(slower(seen([operation({})]), 100)).toEqual([]);
  expect(slower(seen([operation({})]), 99)).toHaveLength(1);
});

test('operations at all', () => {
  expect(during(seen([operation({})]))).toEqual(['1 operations meanwhile']);
  expect(during(seen([operation({ invokedAtMs: 3_000, endedAtMs: 3_001 })]))).toEqual([]);
});

test('a promotion is a timeline that grew', () => {
  const of = (...timelines: number[]) =>
    promoted(
      seen(
        [],
        timelines.map((timeline, i) => look(i, { timeline })),
      ),
      'eu',
    );
  expect(of(1, 1)).toEqual([]);
  expect(of(1, 2)).toEqual(['the timeline of eu grew from 1 to 2']);
});

test('what looks show of a region', () => {
  const looks = [
    look(1_100, { alone: false, lagBytes: { 'eu-b': 10 }, copyAgeMs: { us: 100 }, opened: 3 }),
    look(1_900, { alone: true, lagBytes: { 'eu-b': 900 }, copyAgeMs: { us: 5_000 }, opened: 9 }),
    look(2_100, { opened: 90 }),
  ];
  expect(ranAlone(seen([], looks), 'eu')).toHaveLength(1);
  expect(ranAlone(seen([], looks), 'us')).toEqual([]);
  expect([lagged(seen([], looks), 'eu', 900), lagged(seen([], looks), 'eu', 901)]).toEqual([
    [expect.any(String)],
    [],
  ]);
  expect([
    copiesAged(seen([], looks), 'us', 5_000),
    copiesAged(seen([], looks), 'us', 5_001),
  ]).toEqual([[expect.any(String)], []]);
  expect([reconnected(seen([], looks), 'eu', 6), reconnected(seen([], looks), 'eu', 7)]).toEqual([
    [expect.any(String)],
    [],
  ]);
});

test('copies are old when half of the looks during faults say so', () => {
  const aged = (...ages: [number, number][]) =>
    copiesAged(
      seen(
        [],
        ages.map(([atMs, us]) => look(atMs, { copyAgeMs: { us } })),
      ),
      'us',
      1_200,
    );
  expect(aged([1_000, 100], [1_100, 1_300], [1_200, 1_200])).toEqual([
    'copies of us were over 1200 ms old at half of 3 looks, and up to 1300 ms',
  ]);
  expect(aged([1_000, 100], [1_100, 9_000], [1_200, 1_199])).toEqual([]);
  // Before the fault and after it.
  expect(aged([999, 9_000], [1_500, 100], [2_001, 9_000])).toEqual([]);
  expect(aged()).toEqual([]);
});

test('all or nothing', () => {
  expect(all(['a'], ['b', 'c'])).toEqual(['a', 'b', 'c']);
  expect(all(['a'], [])).toEqual([]);
});
