/**
 * How is an operation said to a person who reads a verdict?
 *
 * Always with its number in the history, its client and its times, so that it can be found.
 */
import type { Action, Operation, Value } from '../history.ts';

/** `#12 client 3 appended 17 to list a (100 to 120 ms, at eu)`. */
export function inWords(operation: Operation): string {
  const { id, client, edge } = operation;
  return `#${id} client ${client} ${did(operation)} (${when(operation)}, at ${edge})`;
}

export function listed(operations: readonly Operation[]): string {
  return operations.map(inWords).join('; ');
}

/** Operations by id, each once. */
export function idsOf(operations: readonly (Operation | undefined)[]): number[] {
  const ids = new Set<number>();
  for (const operation of operations) if (operation !== undefined) ids.add(operation.id);
  return [...ids].sort((a, b) => a - b);
}

export function ms(time: number): string {
  return `${Math.round(time * 10) / 10}`;
}

function when({ invokedAtMs, endedAtMs, outcome }: Operation): string {
  const times = `${ms(invokedAtMs)} to ${ms(endedAtMs)} ms`;
  switch (outcome.kind) {
    case 'ok':
      return times;
    case 'fail':
      return `${times}, told that it was not done`;
    case 'unknown':
      return `from ${ms(invokedAtMs)} ms, never told whether it was done`;
  }
}

function did({ action, outcome, level }: Operation): string {
  const shown = outcome.kind === 'ok' ? outcome.shown : undefined;
  switch (action.kind) {
    case 'lists': {
      const lists = shown?.kind === 'lists' ? shown.lists : [];
      const steps = action.steps.map((step, index) =>
        step.do === 'append'
          ? `appended ${step.value} to list ${step.list}`
          : `read list ${step.list}${holding(lists[index])}`,
      );
      const isRead = action.steps.every((step) => step.do === 'read');
      return `${steps.join(', ')}${isRead ? ` with ${level}` : ''}`;
    }
    case 'register-read':
      return `read register ${action.register}${valueShown(shown)} with ${level}`;
    case 'register-write':
      return `wrote ${action.value} to register ${action.register}`;
    case 'register-swap': {
      const swap = `${said(action.expected)} for ${action.value} in register ${action.register}`;
      if (shown?.kind !== 'unchanged') return `swapped ${swap}`;
      return `did not swap ${swap}, finding ${said(shown.found)},`;
    }
    case 'order': {
      const order = `${action.quantity} of ${action.product} as order ${action.value}`;
      return shown?.kind === 'unchanged' ? `could not order ${order}` : `ordered ${order}`;
    }
    case 'stock-read':
      return `read the stock of ${action.product}${stockShown(shown)} with ${level}`;
    case 'notice-read':
      return `read the notice${valueShown(shown)} with ${level}`;
    case 'notice-write':
      return `wrote ${action.value} as the notice`;
    case 'create':
      return `created the subject for ${action.country}`;
  }
}

type Shown = Extract<Operation['outcome'], { kind: 'ok' }>['shown'] | undefined;

function valueShown(shown: Shown): string {
  return shown?.kind === 'register' ? ` as ${said(shown.value)}` : '';
}

function stockShown(shown: Shown): string {
  if (shown?.kind !== 'stock') return '';
  return ` as ${shown.left} left and orders ${tail(shown.ordered.map(({ value }) => value))}`;
}

function holding(values: readonly Value[] | undefined): string {
  return values === undefined ? '' : ` as ${tail(values)}`;
}

/** A register's value, which may never have been written. */
export function said(value: Value | undefined): string {
  return value === undefined ? 'nothing' : String(value);
}

/** The end of a list says most; `[...12 more, 8, 9]`. */
export function tail(values: readonly Value[]): string {
  const shownMax = 6;
  if (values.length <= shownMax) return `[${values.join(', ')}]`;
  return `[...${values.length - shownMax} before, ${values.slice(-shownMax).join(', ')}]`;
}

/** `list a`, `register r`, `the notice`. */
export function placeOf(action: Action): string {
  switch (action.kind) {
    case 'register-read':
    case 'register-write':
    case 'register-swap':
      return `register ${action.register}`;
    case 'notice-read':
    case 'notice-write':
      return 'the notice';
    case 'order':
    case 'stock-read':
      return `the stock of ${action.product}`;
    case 'lists':
      return `list ${action.steps[0]?.list ?? ''}`;
    case 'create':
      return 'the subject';
  }
}
