import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CellCall, explainCell, NEVER, type State } from './cell-search.ts';

const STEPS = 100_000;
const LATE = Number.POSITIVE_INFINITY;

const write = (at: readonly [number, number], puts: number): CellCall => ({
  invokedAtMs: at[0],
  endedAtMs: at[1],
  operation: undefined,
  puts,
});
const read = (at: readonly [number, number], expects: State): CellCall => ({
  invokedAtMs: at[0],
  endedAtMs: at[1],
  operation: undefined,
  expects,
});

describe('the bound', () => {
  test('a thousand unknown writes at once that nobody has seen cost nothing', () => {
    const calls = Array.from({ length: 1_000 }, (_, index) => write([0, LATE], index));
    const more = [...calls, write([0, 10], 5_000), read([20, 30], 5_000), read([40, 50], NEVER)];
    expect(explainCell(more.slice(0, -1), false, 1_000).kind).toBe('explained');
    expect(explainCell(more, false, 1_000).kind).toBe('contradiction');
  });

  test('nor do those that were seen', () => {
    const calls = Array.from({ length: 1_000 }, (_, index) => [
      write([0, LATE], index),
      read([10 + index * 10, 15 + index * 10], index),
    ]).flat();
    // Each step looks for the next call among those that are open, and there are a thousand.
    expect(explainCell(calls, false, 2_000_000).kind).toBe('explained');
    const again = [...calls, read([20_000, 20_001], 7)];
    expect(explainCell(again, false, 2_000_000).kind).toBe('contradiction');
  });

  test('what is undecided is said to be', () => {
    const calls = Array.from({ length: 30 }, (_, index) => write([0, 100], index));
    const found = explainCell([...calls, read([200, 201], 77)], false, 500);
    expect(found).toEqual({
      kind: 'given-up',
      why: 'undecided after 500 steps over 31 operations',
    });
  });

  test('a value that was written twice cannot be told apart', () => {
    const found = explainCell([write([0, 1], 5), write([2, 3], 5)], false, STEPS);
    expect(found).toEqual({ kind: 'given-up', why: '5 was written twice' });
  });
});

test('an explanation names no more than what contradicts each other', () => {
  const calls: CellCall[] = [];
  for (let index = 0; index < 200; index++) {
    const at = index * 10;
    calls.push(write([at, at + 2], index), read([at + 3, at + 4], index));
  }
  const stale = read([1_003, 1_004], 98);
  const found = explainCell([...calls, stale], false, STEPS);
  if (found.kind !== 'contradiction') throw new Error('not found');
  // Its write, one that overwrote it, and the read.
  expect(found.involved).toHaveLength(3);
  expect(found.involved).toContain(stale);
  expect(found.stuck).toBe(stale);
});

test('after a loss the first to look says what was left', () => {
  const calls = [read([0, 1], 5), read([2, 3], 5), write([4, 5], 6), read([6, 7], 6)];
  expect(explainCell(calls, true, STEPS).kind).toBe('explained');
  expect(explainCell(calls, false, STEPS).kind).toBe('contradiction');
  expect(explainCell([...calls, read([8, 9], 5)], true, STEPS).kind).toBe('contradiction');
});

describe('against trying every order', () => {
  const shape = fc.record({
    does: fc.constantFrom('read' as const, 'write' as const, 'swap' as const),
    sees: fc.nat(6),
    invokedAtMs: fc.nat(8),
    takes: fc.nat(6),
    isUnknown: fc.boolean(),
  });

  test('the search finds an order exactly if there is one', () => {
    let explained = 0;
    let runs = 0;
    const arbitrary = fc.tuple(fc.array(shape, { minLength: 1, maxLength: 7 }), fc.boolean());
    fc.assert(
      fc.property(arbitrary, ([shapes, beginsUnknown]) => {
        const calls = shapes.map(({ does, sees, invokedAtMs, takes, isUnknown }, index) => {
          const endedAtMs = does !== 'read' && isUnknown ? LATE : invokedAtMs + takes;
          const expects = sees === 0 ? NEVER : sees;
          return {
            invokedAtMs,
            endedAtMs,
            operation: undefined,
            ...(does !== 'write' && { expects }),
            ...(does !== 'read' && { puts: index + 1 }),
          } satisfies CellCall;
        });
        const expected = hasOrder(calls, beginsUnknown);
        runs++;
        if (expected) explained++;
        const found = explainCell(calls, beginsUnknown, STEPS);
        expect(found.kind).toBe(expected ? 'explained' : 'contradiction');
        if (found.kind !== 'contradiction') return;
        // What is left of the explanation is contradictory by itself.
        expect(hasOrder(found.involved, beginsUnknown)).toBe(false);
      }),
      { numRuns: 5_000 },
    );
    expect(explained).toBeGreaterThan(runs / 20);
    expect(explained).toBeLessThan((runs * 19) / 20);
  });

  function hasOrder(calls: readonly CellCall[], beginsUnknown: boolean): boolean {
    const sent = new Set(calls.map(({ puts }) => puts));
    return someOrder(calls, beginsUnknown ? 'unknown' : NEVER, sent);
  }

  function someOrder(
    left: readonly CellCall[],
    state: State,
    sent: ReadonlySet<State | undefined>,
  ): boolean {
    if (left.every(({ endedAtMs }) => endedAtMs === LATE)) return true;
    return left.some((next) => {
      if (left.some((other) => other !== next && other.endedAtMs < next.invokedAtMs)) return false;
      const { expects, puts } = next;
      if (expects !== undefined && state !== expects) {
        // What was there before, none of these has sent.
        if (state !== 'unknown' || sent.has(expects)) return false;
      }
      return someOrder(
        left.filter((each) => each !== next),
        puts ?? expects ?? state,
        sent,
      );
    });
  }
});
