/**
 * Histories written by hand: one line for each operation, and everything else by default.
 */
import type {
  Action,
  History,
  ListStep,
  Operation,
  Outcome,
  Settled,
  Shown,
  Value,
} from '../history.ts';

type Rest = Partial<Omit<Operation, 'action' | 'outcome'>> & { outcome?: Outcome };

/** Without an id, which is its place in the history. */
export type Line = Omit<Operation, 'id'>;

export const UNKNOWN: Outcome = { kind: 'unknown', because: 'no answer' };
export const FAIL: Outcome = { kind: 'fail', because: 'write-not-applied' };

/** Sent at `at[0]` and answered at `at[1]`, by default with `strong`. */
export function line(
  client: number,
  at: readonly [number, number],
  action: Action,
  shown: Shown,
  rest: Rest = {},
): Line {
  return {
    client,
    session: client,
    subject: 'ada',
    home: 'eu',
    edge: 'eu',
    action,
    level: 'strong',
    keyed: false,
    attempts: 1,
    invokedAtMs: at[0],
    endedAtMs: at[1],
    outcome: { kind: 'ok', shown },
    ...rest,
  };
}

type At = readonly [number, number];

export const wrote = (client: number, at: At, value: Value, rest?: Rest): Line =>
  line(client, at, { kind: 'register-write', register: 'r', value }, { kind: 'nothing' }, rest);

export const read = (client: number, at: At, value: Value | undefined, rest?: Rest): Line =>
  line(client, at, { kind: 'register-read', register: 'r' }, { kind: 'register', value }, rest);

export const swapped = (
  client: number,
  at: At,
  expected: Value | undefined,
  value: Value,
  rest?: Rest,
): Line =>
  line(
    client,
    at,
    { kind: 'register-swap', register: 'r', expected, value },
    { kind: 'register', value: expected },
    rest,
  );

/** A swap that found something else. */
export const found = (
  client: number,
  at: At,
  expected: Value | undefined,
  value: Value,
  there: Value | undefined,
  rest?: Rest,
): Line =>
  line(
    client,
    at,
    { kind: 'register-swap', register: 'r', expected, value },
    { kind: 'unchanged', because: 'not-equal', found: there },
    rest,
  );

/** Steps as `ax1` for appending 1 to x and `rx1,2` for reading 1 and 2 from x; `ry` reads nothing. */
export function transaction(client: number, at: At, text: string, rest?: Rest): Line {
  const steps: ListStep[] = [];
  const lists: (readonly Value[] | undefined)[] = [];
  for (const part of text.split(' ')) {
    const list = part[1] ?? '';
    const values = part
      .slice(2)
      .split(',')
      .filter((each) => each !== '')
      .map(Number);
    if (part[0] === 'a') {
      steps.push({ do: 'append', list, value: values[0] ?? 0 });
      lists.push(undefined);
    } else {
      steps.push({ do: 'read', list });
      lists.push(values);
    }
  }
  return line(client, at, { kind: 'lists', steps }, { kind: 'lists', lists }, rest);
}

export const ordered = (
  client: number,
  at: At,
  value: Value,
  quantity: number,
  rest?: Rest,
): Line =>
  line(client, at, { kind: 'order', product: 'tea', quantity, value }, { kind: 'nothing' }, rest);

export const counted = (
  client: number,
  at: At,
  left: number,
  orders: Readonly<Record<Value, number>>,
  rest?: Rest,
): Line =>
  line(
    client,
    at,
    { kind: 'stock-read', product: 'tea' },
    {
      kind: 'stock',
      left,
      ordered: Object.entries(orders).map(([value, quantity]) => ({
        value: Number(value),
        quantity,
      })),
    },
    rest,
  );

export function settled(rest: Partial<Settled> = {}): Settled {
  return { subject: 'ada', lists: {}, registers: {}, stock: {}, notice: undefined, ...rest };
}

export function history(lines: readonly Line[], rest: Partial<History> = {}): History {
  const operations = [...lines]
    .sort((a, b) => a.invokedAtMs - b.invokedAtMs)
    .map((each, id) => ({ id, ...each }));
  return { operations, settled: [], acceptedLosses: [], ...rest };
}
