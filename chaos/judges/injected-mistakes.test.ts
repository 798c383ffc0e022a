/** One mistake in the history of an honest database, and the judge whose matter it is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { History, Operation, Settled, Shown, Value } from '../history.ts';
import { seededRandom } from '../toxiproxy/seeded-random.ts';
import { judgeAll } from './all.ts';
import { hasPut, isWrite } from './contents.ts';
import { randomHistory } from './random-history-for-tests.ts';

/** Undefined: this history has no place where it would show. */
type Mistake = (history: History) => History | undefined;

function withShown(history: History, { id }: Operation, shown: Shown): History {
  const operations = history.operations.map(
    (operation): Operation =>
      operation.id === id ? { ...operation, outcome: { kind: 'ok', shown } } : operation,
  );
  return { ...history, operations };
}

function withSettled(history: History, subject: string, change: (was: Settled) => Settled) {
  const settled = history.settled.map((each) => (each.subject === subject ? change(each) : each));
  return { ...history, settled };
}

/** An acknowledged append, with where it went. */
function appends(history: History) {
  return history.operations.flatMap((operation) => {
    const { action } = operation;
    if (action.kind !== 'lists' || !hasPut(operation)) return [];
    return action.steps.flatMap((step) =>
      step.do === 'append' ? [{ operation, list: step.list, value: step.value }] : [],
    );
  });
}

/** A pure read of one list that showed `value`, with what it showed. */
function readsShowing(history: History, subject: string, list: string, value: Value) {
  return history.operations.flatMap((operation) => {
    const { action, outcome } = operation;
    if (operation.subject !== subject || action.kind !== 'lists' || isWrite(operation)) return [];
    if (outcome.kind !== 'ok' || outcome.shown.kind !== 'lists') return [];
    const { lists } = outcome.shown;
    const at = action.steps.findIndex((step) => step.list === list);
    const values = lists[at];
    if (values === undefined || !values.includes(value)) return [];
    return [{ operation, at, values, lists }];
  });
}

const withoutLast =
  (choose: (write: Operation, read: Operation) => boolean): Mistake =>
  (history) => {
    for (const { operation: write, list, value } of appends(history)) {
      for (const { operation, at, values, lists } of readsShowing(
        history,
        write.subject,
        list,
        value,
      )) {
        if (write.endedAtMs >= operation.invokedAtMs || !choose(write, operation)) continue;
        const short = values.slice(0, values.indexOf(value));
        return withShown(history, operation, {
          kind: 'lists',
          lists: lists.map((each, index) => (index === at ? short : each)),
        });
      }
    }
    return undefined;
  };

const MISTAKES: Record<string, { judge: string; mistake: Mistake }> = {
  'a strong read that is stale': {
    judge: 'linearizable',
    mistake: withoutLast((_, read) => read.level === 'strong'),
  },
  'a session that does not see its own write': {
    judge: 'session-guarantees',
    mistake: withoutLast(
      (write, read) => read.level === 'session' && read.session === write.session,
    ),
  },
  'a bounded read that is too old': {
    judge: 'bounded-staleness',
    mistake: withoutLast(
      (write, read) =>
        read.level === 'bounded' && write.endedAtMs < read.invokedAtMs - (read.maxStalenessMs ?? 0),
    ),
  },
  'an acknowledged write that is gone': {
    judge: 'acknowledged',
    mistake: (history) => {
      const [first] = appends(history);
      if (first === undefined) return undefined;
      return withSettled(history, first.operation.subject, (was) => ({
        ...was,
        lists: {
          ...was.lists,
          [first.list]: (was.lists[first.list] ?? []).filter((value) => value !== first.value),
        },
      }));
    },
  },
  'a write that was done again': {
    judge: 'exactly-once',
    mistake: (history) => {
      const twice = appends(history).find(({ operation }) => operation.attempts > 1);
      if (twice === undefined) return undefined;
      return withSettled(history, twice.operation.subject, (was) => ({
        ...was,
        lists: {
          ...was.lists,
          [twice.list]: [...(was.lists[twice.list] ?? []), twice.value],
        },
      }));
    },
  },
  'two appends in the other order': {
    judge: 'linearizable',
    mistake: (history) => {
      const all = appends(history);
      for (const { operation, list, value } of all) {
        const { subject, endedAtMs } = operation;
        const strong = history.operations.some(
          ({ level, outcome }) => level === 'strong' && outcome.kind === 'ok',
        );
        const later = all.find(
          (other) =>
            other.list === list &&
            other.operation.subject === subject &&
            other.operation.invokedAtMs > endedAtMs,
        );
        if (later === undefined || !strong) continue;
        return withSettled(history, subject, (was) => ({
          ...was,
          lists: {
            ...was.lists,
            [list]: (was.lists[list] ?? []).map((each) =>
              each === value ? later.value : each === later.value ? value : each,
            ),
          },
        }));
      }
      return undefined;
    },
  },
  'a register that shows what was overwritten': {
    judge: 'linearizable',
    mistake: (history) => {
      const writes = history.operations.filter(
        (operation) => operation.action.kind === 'register-write' && hasPut(operation),
      );
      for (const read of history.operations) {
        const { action, level, outcome } = read;
        if (action.kind !== 'register-read' || level !== 'strong' || outcome.kind !== 'ok')
          continue;
        const before = writes.filter(
          (write) =>
            write.subject === read.subject &&
            write.action.kind === 'register-write' &&
            write.action.register === action.register &&
            write.endedAtMs < read.invokedAtMs,
        );
        const old = before.find((write) =>
          before.some((other) => other.invokedAtMs > write.endedAtMs),
        );
        if (old?.action.kind !== 'register-write') continue;
        return withShown(history, read, { kind: 'register', value: old.action.value });
      }
      return undefined;
    },
  },
  'half of an order': {
    judge: 'stock',
    mistake: (history) => {
      for (const read of history.operations) {
        const { outcome } = read;
        if (outcome.kind !== 'ok' || outcome.shown.kind !== 'stock') continue;
        if (outcome.shown.ordered.length === 0) continue;
        return withShown(history, read, { ...outcome.shown, left: outcome.shown.left + 1 });
      }
      return undefined;
    },
  },
  'a read of half a transaction': {
    judge: 'cycles',
    mistake: (history) => {
      for (const { operation: write, list, value } of appends(history)) {
        const { action } = write;
        if (action.kind !== 'lists') continue;
        const other = action.steps.find((step) => step.do === 'append' && step.list !== list);
        if (other?.do !== 'append') continue;
        for (const { operation, lists, values, at } of readsShowing(
          history,
          write.subject,
          list,
          value,
        )) {
          const read = operation.action;
          if (read.kind !== 'lists') continue;
          const also = read.steps.findIndex((step) => step.list === other.list);
          if (also === -1 || lists[also]?.includes(other.value) !== true) continue;
          // The first of its values there, so that the other list shows the transaction and this none.
          const first = action.steps.find((step) => step.do === 'append' && step.list === list);
          if (first?.do !== 'append') continue;
          const short = values.slice(0, values.indexOf(first.value));
          const steps = read.steps;
          return withShown(history, operation, {
            kind: 'lists',
            lists: lists.map((each, index) =>
              steps[index]?.list === steps[at]?.list ? short : each,
            ),
          });
        }
      }
      return undefined;
    },
  },
};

describe('a single mistake in an honest history is found', () => {
  for (const [name, { judge, mistake }] of Object.entries(MISTAKES)) {
    test(`${name}, by ${judge}`, () => {
      let made = 0;
      fc.assert(
        fc.property(fc.nat(), (seed) => {
          const shape = { operations: 120, clients: 6, subjects: 1, unknown: 0.05 };
          const broken = mistake(randomHistory(seededRandom(seed), shape));
          if (broken === undefined) return;
          made++;
          const judged = judgeAll(broken, { isolation: 'serializable' });
          const found = judged.find((each) => each.judge === judge);
          expect(found?.verdict).toBe('broken');
          // Whoever accuses, names operations that are there, and says something.
          for (const { operations, says, promise } of found?.violations ?? []) {
            expect(says.length).toBeGreaterThan(20);
            expect(promise).not.toBe('');
            for (const id of operations) expect(broken.operations[id]?.id).toBe(id);
          }
        }),
        { numRuns: 60 },
      );
      expect(made).toBeGreaterThan(10);
    });
  }
});
