/** In few words, what did an operation ask for, and what was it told? */
import type { Action, ListStep, Operation, Shown } from '../history.ts';

/** What is left out of a long list is counted; its end is what tells histories apart. */
const VALUES_SHOWN_MAX = 12;

export function asked(action: Action): string {
  switch (action.kind) {
    case 'lists':
      return action.steps.map(step).join('; ');
    case 'register-read':
      return `read ${action.register}`;
    case 'register-write':
      return `write ${action.value} to ${action.register}`;
    case 'register-swap':
      return `swap ${action.register} from ${action.expected ?? 'nothing'} to ${action.value}`;
    case 'order':
      return `order ${action.quantity} of ${action.product} as ${action.value}`;
    case 'stock-read':
      return `read stock of ${action.product}`;
    case 'notice-read':
      return 'read notice';
    case 'notice-write':
      return `write notice ${action.value}`;
    case 'create':
      return `create, country ${action.country}`;
  }
}

/** What an operation is about, within its subject. */
export function thingsOf(action: Action): string[] {
  switch (action.kind) {
    case 'lists':
      return action.steps.map(({ list }) => `list ${list}`);
    case 'register-read':
    case 'register-write':
    case 'register-swap':
      return [`register ${action.register}`];
    case 'order':
    case 'stock-read':
      return [`product ${action.product}`];
    case 'notice-read':
    case 'notice-write':
      return ['notice'];
    case 'create':
      return ['subject'];
  }
}

/** What an operation showed, or why it showed nothing. */
export function told({ action, outcome }: Operation): string {
  if (outcome.kind !== 'ok') return `${outcome.kind}: ${outcome.because}`;
  const words = shown(action, outcome.shown);
  return words === '' ? 'ok' : `ok: ${words}`;
}

function shown(action: Action, what: Shown): string {
  switch (what.kind) {
    case 'lists': {
      const steps = action.kind === 'lists' ? action.steps : [];
      return what.lists
        .flatMap((list, index) =>
          list === undefined ? [] : [`${steps[index]?.list ?? 'list'} = ${values(list)}`],
        )
        .join('; ');
    }
    case 'register':
      return action.kind === 'register-swap'
        ? `held ${what.value ?? 'nothing'}`
        : `${what.value ?? 'nothing written'}`;
    case 'unchanged':
      return what.because === 'not-equal'
        ? `unchanged, found ${what.found ?? 'nothing'}`
        : 'unchanged, out of stock';
    case 'stock':
      return `${what.left} left, orders ${values(what.ordered.map(({ value }) => value))}`;
    case 'nothing':
      return '';
  }
}

function step(what: ListStep): string {
  return what.do === 'append' ? `append ${what.value} to ${what.list}` : `read ${what.list}`;
}

function values(all: readonly number[]): string {
  const left = all.length - VALUES_SHOWN_MAX;
  return left > 0 ? `[${left} more, ${all.slice(left).join(', ')}]` : `[${all.join(', ')}]`;
}
