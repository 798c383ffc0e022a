/**
 * How is an action asked of the witness app, and what does its answer show?
 *
 * The routes of `examples/witness/app.ts`, from outside. An answer of another shape shows nothing:
 * whoever asked was not told what was done.
 */
import type { Action, Settled, Shown, Value } from '../history.ts';
import type { Asked } from './ask-edge.ts';

type Route = Pick<Asked, 'method' | 'path' | 'body'>;

/** `mark` is stored with whatever is written. */
export function requestOf(subject: string, action: Action, mark: string): Route {
  const at = `/users/${subject}`;
  switch (action.kind) {
    case 'create':
      return {
        method: 'POST',
        path: '/users',
        body: { id: subject, country: action.country, mark },
      };
    case 'lists': {
      const { steps } = action;
      if (steps.every((step) => step.do === 'read')) {
        const names = new Set(steps.map(({ list }) => `of=${list}`));
        return { method: 'GET', path: `${at}/lists?${[...names].join('&')}`, body: undefined };
      }
      const sent = steps.map((step) =>
        step.do === 'read' ? { read: step.list } : { append: step.list, value: step.value },
      );
      return { method: 'POST', path: `${at}/lists`, body: { steps: sent, mark } };
    }
    case 'register-read':
      return { method: 'GET', path: `${at}/registers/${action.register}`, body: undefined };
    case 'register-write':
      return {
        method: 'PUT',
        path: `${at}/registers/${action.register}`,
        body: { value: action.value, mark },
      };
    case 'register-swap':
      return {
        method: 'POST',
        path: `${at}/registers/${action.register}/swap`,
        body: { expected: action.expected ?? null, value: action.value, mark },
      };
    case 'order': {
      const { product, quantity, value } = action;
      return { method: 'POST', path: `${at}/orders`, body: { product, quantity, value, mark } };
    }
    case 'stock-read':
      return { method: 'GET', path: `${at}/stock/${action.product}`, body: undefined };
    case 'notice-read':
      return { method: 'GET', path: `${at}/notice`, body: undefined };
    case 'notice-write':
      return { method: 'PUT', path: `${at}/notice`, body: { value: action.value, mark } };
  }
}

/** Undefined when the answer does not have the shape that the app gives it. */
export function shownBy(action: Action, body: unknown): Shown | undefined {
  const answer = body as Record<string, unknown>;
  switch (action.kind) {
    case 'create':
    case 'register-write':
    case 'notice-write':
      return { kind: 'nothing' };
    case 'lists': {
      const { steps } = action;
      const found = answer.lists;
      if (typeof found !== 'object' || found === null) return undefined;
      const isRead = steps.every((step) => step.do === 'read');
      const byName = found as Record<string, unknown>;
      const lists = steps.map((step, at) => {
        if (step.do === 'append') return undefined;
        return isRead ? (byName[step.list] ?? []) : (found as unknown[])[at];
      });
      if (!isRead && (!Array.isArray(found) || found.length !== steps.length)) return undefined;
      return lists.every((list, at) => steps[at]?.do === 'append' || areValues(list))
        ? { kind: 'lists', lists: lists as (Value[] | undefined)[] }
        : undefined;
    }
    case 'register-read':
    case 'notice-read':
      return register(answer.value);
    case 'register-swap': {
      const found = answer.found;
      if (answer.swapped === true) return register(found);
      if (answer.swapped !== false || !isValueOrNull(found)) return undefined;
      return { kind: 'unchanged', because: 'not-equal', found: found ?? undefined };
    }
    case 'order': {
      const left = answer.left;
      if (answer.ordered === true) return { kind: 'nothing' };
      if (answer.ordered !== false || typeof left !== 'number') return undefined;
      return { kind: 'unchanged', because: 'out-of-stock', found: left };
    }
    case 'stock-read': {
      const { left, ordered } = answer;
      if (typeof left !== 'number' || !Array.isArray(ordered)) return undefined;
      return { kind: 'stock', left, ordered: ordered as { value: Value; quantity: number }[] };
    }
  }
}

export function everythingOf(subject: string): Route {
  return { method: 'GET', path: `/users/${subject}/everything`, body: undefined };
}

type Everything = {
  lists: Record<string, Value[]>;
  registers: Record<string, Value>;
  unitsLeft: Record<string, number>;
  orders: { product: string; value: Value; quantity: number }[];
  notice: Value | null;
};

export function settledFrom(subject: string, body: unknown): Settled | undefined {
  const { lists, registers, unitsLeft, orders, notice } = body as Partial<Everything>;
  if (lists === undefined || registers === undefined || notice === undefined) return undefined;
  if (unitsLeft === undefined || !Array.isArray(orders)) return undefined;
  const stock: Record<string, { left: number; ordered: { value: Value; quantity: number }[] }> = {};
  for (const [product, left] of Object.entries(unitsLeft)) stock[product] = { left, ordered: [] };
  for (const { product, value, quantity } of orders) {
    // Orders without a stock that they were taken from: nothing is left, and the sum will not fit.
    stock[product] ??= { left: 0, ordered: [] };
    stock[product].ordered.push({ value, quantity });
  }
  return { subject, lists, registers, stock, notice: notice ?? undefined };
}

/** Somebody whom no region knows. */
export function settledWithout(subject: string): Settled {
  return { subject, lists: {}, registers: {}, stock: {}, notice: undefined, absent: true };
}

function register(value: unknown): Shown | undefined {
  return isValueOrNull(value) ? { kind: 'register', value: value ?? undefined } : undefined;
}

function isValueOrNull(value: unknown): value is Value | null {
  return value === null || typeof value === 'number';
}

function areValues(list: unknown): list is Value[] {
  return Array.isArray(list) && list.every((value) => typeof value === 'number');
}
