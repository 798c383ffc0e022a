/**
 * Histories as an honest database would leave them, from a seed.
 *
 * Every operation takes effect at one instant between its sending and its answer, on one copy of the
 * truth. A read with `session`, `bounded` or `eventual` is answered from an earlier instant, as far
 * back as its level allows. Some answers get lost, some operations are not done and say so.
 */
import type {
  Action,
  History,
  Level,
  ListStep,
  Operation,
  Outcome,
  Settled,
  Shown,
  Value,
} from '../history.ts';

export type Shape = {
  operations: number;
  subjects?: number;
  clients?: number;
  lists?: number;
  registers?: number;
  /** Of 1. */
  unknown?: number;
  fail?: number;
  /** Longest time from sending to answer, while operations follow each other at about 10 ms. */
  takesMsMax?: number;
};

const UNITS = 1_000_000;

export function randomHistory(random: () => number, shape: Shape): History {
  const {
    operations: count,
    subjects = 2,
    clients = 4,
    lists = 2,
    registers = 2,
    unknown = 0.1,
    fail = 0.05,
    takesMsMax = 60,
  } = shape;
  const below = (max: number) => Math.floor(random() * max);
  const pick = <T>(from: readonly T[]) => from[below(from.length)] as T;
  const free = Array.from({ length: clients }, () => random() * 20);
  const planned: Plan[] = [];
  for (let index = 0; index < count; index++) {
    const client = below(clients);
    const invokedAtMs = (free[client] as number) + random() * 20;
    const endedAtMs = invokedAtMs + 1 + random() * takesMsMax;
    free[client] = endedAtMs;
    const chance = random();
    const fate = chance < unknown ? 'unknown' : chance < unknown + fail ? 'fail' : 'ok';
    // What nobody waits for any longer may be done much later, or never.
    const late = fate === 'unknown' && random() < 0.5 ? random() * 500 : 0;
    const isDone = fate === 'ok' || (fate === 'unknown' && random() < 0.6);
    planned.push({
      client,
      invokedAtMs,
      endedAtMs,
      atMs: invokedAtMs + random() * (endedAtMs - invokedAtMs) + late,
      fate,
      isDone,
    });
  }
  planned.sort((a, b) => a.atMs - b.atMs);
  const truths = Array.from({ length: subjects }, () => new Truth());
  const seen = new Map<string, { endedAtMs: number; asOfMs: number }[]>();
  let value = 1;
  const done: Omit<Operation, 'id'>[] = [];
  for (const { client, invokedAtMs, endedAtMs, atMs, fate, isDone } of planned) {
    const subject = below(subjects);
    const truth = truths[subject] as Truth;
    // Two clients share a session; each subject has tokens of its own.
    const session = Math.floor(client / 2);
    const key = `${session} ${subject}`;
    const level: Level = pick(['session', 'session', 'strong', 'strong', 'bounded', 'eventual']);
    const maxStalenessMs = pick([0, 50, 200]);
    const known = seen.get(key) ?? [];
    let floorMs = 0;
    for (const past of known) {
      if (past.endedAtMs < invokedAtMs) floorMs = Math.max(floorMs, past.asOfMs);
    }
    const oldestMs = {
      strong: atMs,
      session: floorMs,
      bounded: Math.min(atMs, invokedAtMs - maxStalenessMs),
      eventual: 0,
    }[level];
    const readAtMs = oldestMs + random() * (atMs - oldestMs);
    const action = actionOf();
    const isRead = 'read' === purpose(action);
    const asOfMs = isRead ? readAtMs : atMs;
    const keyed = !isRead && random() < 0.5;
    let shown: Shown = { kind: 'nothing' };
    if (isRead) shown = truth.show(action, asOfMs);
    else if (isDone) shown = truth.apply(action, atMs);
    if (fate === 'ok' && (level !== 'eventual' || !isRead)) {
      known.push({ endedAtMs, asOfMs });
      seen.set(key, known);
    }
    const outcome: Outcome =
      fate === 'ok' ? { kind: 'ok', shown } : { kind: fate, because: 'so it was drawn' };
    done.push({
      client,
      session,
      subject: `s${subject}`,
      home: 'eu',
      edge: pick(['eu', 'us']),
      action,
      level,
      ...(level === 'bounded' && { maxStalenessMs }),
      keyed,
      attempts: keyed && random() < 0.5 ? 2 : 1,
      invokedAtMs,
      endedAtMs,
      outcome,
      ...(isRead && { told: { status: 200, stalenessMs: Math.ceil(atMs - asOfMs) } }),
    });
  }

  function actionOf(): Action {
    const register = `r${below(registers)}`;
    const list = () => `l${below(lists)}`;
    switch (below(10)) {
      case 0:
        return { kind: 'register-write', register, value: value++ };
      case 1: {
        const expected = random() < 0.7 ? truths[0]?.peek(register) : value - 1;
        return { kind: 'register-swap', register, expected, value: value++ };
      }
      case 2:
        return { kind: 'register-read', register };
      case 3:
        return { kind: 'order', product: 'tea', quantity: 1 + below(3), value: value++ };
      case 4:
        return { kind: 'stock-read', product: 'tea' };
      case 5:
        return random() < 0.5 ? { kind: 'notice-read' } : { kind: 'notice-write', value: value++ };
      case 6:
      case 7: {
        const steps = Array.from({ length: 1 + below(3) }, (): ListStep => {
          return { do: 'read', list: list() };
        });
        return { kind: 'lists', steps };
      }
      default: {
        const steps = Array.from({ length: 1 + below(3) }, (): ListStep => {
          return random() < 0.3
            ? { do: 'read', list: list() }
            : { do: 'append', list: list(), value: value++ };
        });
        return { kind: 'lists', steps };
      }
    }
  }

  const endMs = Math.max(...done.map(({ endedAtMs }) => endedAtMs)) + 1_000;
  const operations = done
    .sort((a, b) => a.invokedAtMs - b.invokedAtMs)
    .map((operation, id): Operation => ({ id, ...operation }));
  const settled = truths.map((truth, index): Settled => truth.settled(`s${index}`, endMs));
  return { operations, settled, acceptedLosses: [] };
}

type Plan = {
  client: number;
  invokedAtMs: number;
  endedAtMs: number;
  atMs: number;
  fate: 'ok' | 'fail' | 'unknown';
  isDone: boolean;
};

function purpose(action: Action): 'read' | 'write' {
  if (action.kind === 'lists') {
    return action.steps.every((step) => step.do === 'read') ? 'read' : 'write';
  }
  return action.kind.endsWith('-read') ? 'read' : 'write';
}

type Version<T> = { atMs: number; value: T };

/** One subject, with everything that it ever held. */
class Truth {
  #lists = new Map<string, Version<Value>[]>();
  #cells = new Map<string, Version<Value>[]>();
  #orders: Version<{ value: Value; quantity: number }>[] = [];

  peek(register: string): Value | undefined {
    return this.#cell(`register ${register}`, Number.POSITIVE_INFINITY);
  }

  show(action: Action, atMs: number): Shown {
    switch (action.kind) {
      case 'lists':
        return { kind: 'lists', lists: action.steps.map(({ list }) => this.#list(list, atMs)) };
      case 'register-read':
        return { kind: 'register', value: this.#cell(`register ${action.register}`, atMs) };
      case 'notice-read':
        return { kind: 'register', value: this.#cell('notice', atMs) };
      case 'stock-read':
        return this.#stock(atMs);
      default:
        throw new Error('not a read');
    }
  }

  apply(action: Action, atMs: number): Shown {
    switch (action.kind) {
      case 'lists': {
        const lists = action.steps.map((step) => {
          if (step.do === 'read') return this.#list(step.list, atMs);
          this.#add(this.#lists, step.list, { atMs, value: step.value });
          return undefined;
        });
        return { kind: 'lists', lists };
      }
      case 'register-write':
        this.#add(this.#cells, `register ${action.register}`, { atMs, value: action.value });
        return { kind: 'nothing' };
      case 'notice-write':
        this.#add(this.#cells, 'notice', { atMs, value: action.value });
        return { kind: 'nothing' };
      case 'register-swap': {
        const found = this.peek(action.register);
        if (found !== action.expected) return { kind: 'unchanged', because: 'not-equal', found };
        this.#add(this.#cells, `register ${action.register}`, { atMs, value: action.value });
        return { kind: 'register', value: found };
      }
      case 'order':
        this.#orders.push({ atMs, value: { value: action.value, quantity: action.quantity } });
        return { kind: 'nothing' };
      default:
        throw new Error('not a write');
    }
  }

  settled(subject: string, atMs: number): Settled {
    const lists = Object.fromEntries(
      [...this.#lists.keys()].map((list) => [list, this.#list(list, atMs)]),
    );
    const registers: Record<string, Value> = {};
    for (const place of this.#cells.keys()) {
      const value = this.#cell(place, atMs);
      const [kind, register] = place.split(' ');
      if (kind === 'register' && register !== undefined && value !== undefined) {
        registers[register] = value;
      }
    }
    const { left, ordered } = this.#stock(atMs);
    const notice = this.#cell('notice', atMs);
    return { subject, lists, registers, stock: { tea: { left, ordered } }, notice };
  }

  #add(places: Map<string, Version<Value>[]>, place: string, version: Version<Value>): void {
    const known = places.get(place);
    if (known === undefined) places.set(place, [version]);
    else known.push(version);
  }

  #list(list: string, atMs: number): Value[] {
    const versions = this.#lists.get(list) ?? [];
    return versions.slice(0, until(versions, atMs)).map(({ value }) => value);
  }

  #cell(place: string, atMs: number): Value | undefined {
    const versions = this.#cells.get(place) ?? [];
    return versions[until(versions, atMs) - 1]?.value;
  }

  #stock(atMs: number) {
    const ordered = this.#orders.slice(0, until(this.#orders, atMs)).map(({ value }) => value);
    const left = ordered.reduce((units, { quantity }) => units - quantity, UNITS);
    return { kind: 'stock', left, ordered } as const;
  }
}

/** How many there were at this time. */
function until(versions: readonly Version<unknown>[], atMs: number): number {
  let [low, high] = [0, versions.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((versions[middle] as Version<unknown>).atMs <= atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
