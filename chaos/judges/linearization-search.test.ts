import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Call, type Machine, search } from './linearization-search.ts';

const STEPS = 1_000_000;

type Register =
  | { kind: 'read'; value: number }
  | { kind: 'write'; value: number }
  | { kind: 'cas'; from: number; to: number; was: boolean | undefined };

type Event = Register & Pick<Call, 'invokedAtMs' | 'endedAtMs'> & { optional?: boolean };

/** 0 stands for a register that nobody has written. Values may come again. */
function register(events: readonly Event[]): { calls: Call[]; machine: Machine } {
  return {
    calls: events.map(({ invokedAtMs, endedAtMs, optional = false, kind }) => {
      return { invokedAtMs, endedAtMs, optional, pure: kind === 'read' };
    }),
    machine: {
      initial: 0,
      step: (state, call) => {
        const event = events[call];
        return event === undefined ? undefined : step(state, event);
      },
    },
  };
}

function step(state: number, event: Event): number | undefined {
  switch (event.kind) {
    case 'read':
      return event.value === state ? state : undefined;
    case 'write':
      return event.value;
    case 'cas':
      if (event.was === false) return event.from === state ? undefined : state;
      return event.from === state ? event.to : undefined;
  }
}

function isExplained(events: readonly Event[]): boolean {
  const { calls, machine } = register(events);
  const found = search(calls, machine, STEPS);
  if (found.kind === 'given-up') throw new Error('gave up');
  return found.kind === 'explained';
}

/**
 * A log of Jepsen, one event in a word: `3?w1` client 3 calls write 1, `3!` it is done, `3x` it is not,
 * `3~` it timed out, so it may be done later or never. `r` reads, and `!` says what; `c1,2` is a swap.
 */
function jepsen(text: string): Event[] {
  const events: Event[] = [];
  const open = new Map<string, Event>();
  text
    .split(/\s+/)
    .filter((word) => word !== '')
    .forEach((word, at) => {
      const [, client = '', mark = '', rest = ''] = /^(\d+)([?!x~])(.*)$/.exec(word) ?? [];
      if (mark === '?') {
        const [first = 0, second = 0] = rest.slice(1).split(',').map(Number);
        const times = { invokedAtMs: at, endedAtMs: Number.POSITIVE_INFINITY };
        const event: Event =
          rest[0] === 'r'
            ? { kind: 'read', value: 0, ...times }
            : rest[0] === 'w'
              ? { kind: 'write', value: shifted(first), ...times }
              : {
                  kind: 'cas',
                  from: shifted(first),
                  to: shifted(second),
                  was: undefined,
                  ...times,
                };
        open.set(client, event);
        events.push(event);
        return;
      }
      const event = open.get(client);
      if (event === undefined) throw new Error(`${word}: nothing is open`);
      open.delete(client);
      if (mark === '~') {
        event.optional = true;
        return;
      }
      event.endedAtMs = at;
      if (event.kind === 'read') event.value = rest === '' ? 0 : shifted(Number(rest));
      if (event.kind === 'cas') event.was = mark === '!';
    });
  for (const event of open.values()) event.optional = true;
  return events;
}

/** 0 is a value in the logs, and nil is not. */
function shifted(value: number): number {
  return value + 1;
}

describe('histories of etcd that Jepsen recorded and Porcupine has as test data', () => {
  test('etcd_002, its first half: explained, with calls that timed out', () => {
    const log = `4?r 4! 1?w1 2?c2,4 3?c1,2 0?c1,4 1! 0x 2! 3! 4?w0 4! 1?w2 1! 0?r 0!2 2?c0,2 3?c2,3
      2x 3! 4?r 4!3 1?w3 1! 0?w2 2?w0 0! 2! 3?c0,4 3! 4?c3,4 4x 1?w1 0?w3 0! 1! 2?r 2!3 3?r 3!3 4?r
      4!3 0?c4,3 0x 1?c2,2 2?w3 1x 3?w2 4?w2 4! 0?c1,4 0x 2~ 1?w3 1! 3~ 4?c3,0 4! 0?r 0!0 7?c3,1 1?w1
      8?r 8!3 4?c4,0 1! 0?w2 0! 7~ 4x 8?c4,0 1?w0 1! 0?w4 0! 12?w4 4?r 4!4`;
    expect(isExplained(jepsen(log))).toBe(true);
    // The 3 that client 8 read at last was written by a call that had timed out before.
    expect(isExplained(jepsen(log.replace('2~', '2x').replace('2?w3', '2?r')))).toBe(false);
  });

  test('etcd_000, the part in which an overwritten 2 comes back: not explained', () => {
    const log = `9?w2 9! 4?w1 1?c2,1 2?w2 2! 0?c1,4 3?w3 4~ 0x 3! 1~ 2?w2 10?w3 0?r 0!3 2! 3?c3,4 3x
      6?c1,1 10~ 0?w1 0! 2?c0,0 2x 3?c2,2 6~ 3x 14?w4 0?c4,3 0x 2?w0 11?r 11!2 2!`;
    expect(isExplained(jepsen(log))).toBe(false);
    expect(isExplained(jepsen(log.replace('11!2', '11!1')))).toBe(true);
    expect(isExplained(jepsen(log.replace('11!2', '11!0')))).toBe(true);
  });
});

test('what timed out may be done once, at any time after it was sent, or never', () => {
  expect(isExplained(jepsen('0?w1 0! 1?w2 1~ 2?r 2!1 2?r 2!2 2?r 2!2'))).toBe(true);
  expect(isExplained(jepsen('0?w1 0! 1?w2 1~ 2?r 2!1 2?r 2!1'))).toBe(true);
  expect(isExplained(jepsen('0?w1 0! 1?w2 1~ 2?r 2!2 2?r 2!1'))).toBe(false);
  expect(isExplained(jepsen('2?r 2!2 0?w1 0! 1?w2 1~'))).toBe(false);
});

test('a contradiction names the longest order and what cannot be next', () => {
  const events = jepsen('0?w1 0! 0?w2 0! 1?r 1!1');
  const { calls, machine } = register(events);
  expect(search(calls, machine, STEPS)).toMatchObject({
    kind: 'contradiction',
    longest: [0, 1],
    stuck: 2,
  });
});

test('it gives up after so many steps and says so', () => {
  const writes = Array.from({ length: 20 }, (_, index) => `${index}?w${index}`);
  const ends = writes.map((_, index) => `${index}!`);
  const { calls, machine } = register(jepsen([...writes, ...ends, '0?r 0!77'].join(' ')));
  const found = search(calls, machine, 1_000);
  expect(found.kind).toBe('given-up');
  expect(found.steps).toBeLessThan(1_100);
});

describe('against trying every order', () => {
  const event = fc
    .record({
      kind: fc.constantFrom('read' as const, 'write' as const, 'cas' as const),
      value: fc.nat(2),
      to: fc.nat(2),
      was: fc.boolean(),
      invokedAtMs: fc.nat(8),
      takes: fc.nat(5),
      optional: fc.boolean(),
    })
    .map(({ kind, value, to, was, invokedAtMs, takes, optional }): Event => {
      const endedAtMs = invokedAtMs + takes;
      if (kind === 'read') return { kind, value, invokedAtMs, endedAtMs };
      const times = {
        invokedAtMs,
        endedAtMs: optional ? Number.POSITIVE_INFINITY : endedAtMs,
        optional,
      };
      if (kind === 'write') return { kind, value, ...times };
      return { kind, from: value, to, was: optional ? undefined : was, ...times };
    });

  test('the search finds an order exactly if there is one', () => {
    let explained = 0;
    let runs = 0;
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 6 }), (events) => {
        const expected = someOrder(events, 0, new Set());
        runs++;
        if (expected) explained++;
        expect(isExplained(events)).toBe(expected);
      }),
      { numRuns: 5_000 },
    );
    // Both verdicts are met often, or this compares nothing.
    expect(explained).toBeGreaterThan(runs / 20);
    expect(explained).toBeLessThan((runs * 19) / 20);
  });

  function someOrder(events: readonly Event[], state: number, taken: ReadonlySet<Event>): boolean {
    const left = events.filter((each) => !taken.has(each));
    if (left.every(({ optional }) => optional === true)) return true;
    for (const next of left) {
      if (left.some((other) => other !== next && other.endedAtMs < next.invokedAtMs)) continue;
      const after = step(state, next);
      if (after === undefined) continue;
      if (someOrder(events, after, new Set([...taken, next]))) return true;
    }
    return false;
  }
});
