/**
 * What does a client do next?
 *
 * Each client's plans follow from the seed and its number alone, whatever it is told: whom, what,
 * at which level, at which edge, under a key or not, where a retry goes, and how long it rests
 * before. What several clients do at a time follows from nothing but the clock.
 */
import type { Action, Level, ListStep, Value } from '../history.ts';
import { seededRandom } from '../toxiproxy/seeded-random.ts';
import type { Deed, Mix } from './mixes.ts';
import type { Population, Subject } from './population.ts';

export type Edge = { region: string; url: string };

/** What the register held last, as far as this client knows, is filled in when it is sent. */
type PlannedSwap = Omit<Extract<Action, { kind: 'register-swap' }>, 'expected'>;
export type PlannedAction = Exclude<Action, { kind: 'register-swap' }> | PlannedSwap;

export type Plan = {
  restMs: number;
  subject: Subject;
  action: PlannedAction;
  level: Level;
  /** For `bounded`. */
  maxStalenessMs: number | undefined;
  /** Undefined: without an idempotency key. */
  key: string | undefined;
  /** The first attempt goes to the first one, a retry to the next one. */
  edges: readonly Edge[];
  /** Forgets what its session has seen, and begins another one. */
  newSession: boolean;
};

export type PlanOptions = {
  seed: number;
  /** Of the client, from 0. */
  client: number;
  population: Population;
  edges: readonly Edge[];
  mix: Mix;
  restMsMax: number;
};

/** No client does as much; the values of two clients never meet. */
const VALUES_OF_A_CLIENT = 10_000_000;
/**
 * Clients go on to new lists, registers and products together, as far as they are equally quick: a
 * list stays short enough to be read whole, and a register's history short enough to be judged.
 */
const PLANS_OF_A_GENERATION = 60;
const LISTS = 3;
const REGISTERS = 2;
const PRODUCTS = 2;
const STEPS_MAX = 4;
const QUANTITY_MAX = 4;
const STALENESS_BOUNDS_MS = [250, 1_000, 5_000] as const;
/** Attempts under one key. */
export const ATTEMPTS_MAX = 8;
const NEW_SESSION_CHANCE = 0.02;
/** How often a client turns to somebody whom it has created itself, once there is one. */
const OWN_SUBJECT_CHANCE = 0.05;

export function plansOf(options: PlanOptions): () => Plan {
  const { seed, client, population, edges, mix, restMsMax } = options;
  const random = seededRandom(Math.imul(seed, 0x85eb_ca6b) + Math.imul(client, 0xc2b2_ae35));
  const below = (bound: number) => Math.floor(random() * bound);
  const oneOf = <T>(from: readonly T[]): T => {
    const one = from[below(from.length)];
    if (one === undefined) throw new RangeError('nothing to draw from');
    return one;
  };
  const usual = edges[client % edges.length];
  if (usual === undefined) throw new RangeError('clients need an edge');
  let plans = 0;
  let values = 0;
  let created = 0;
  const value = (): Value => client * VALUES_OF_A_CLIENT + ++values;

  const steps = (appends: boolean, generation: number): ListStep[] => {
    const drawn = Array.from({ length: 1 + below(STEPS_MAX) }, (): ListStep => {
      const list = `l${generation}-${below(LISTS)}`;
      return appends && random() < 0.6
        ? { do: 'append', list, value: value() }
        : { do: 'read', list };
    });
    if (!appends || drawn.some((step) => step.do === 'append')) return drawn;
    return [...drawn, { do: 'append', list: `l${generation}-${below(LISTS)}`, value: value() }];
  };

  const action = (deed: Exclude<Deed, 'create'>, generation: number): PlannedAction => {
    const register = `r${generation}-${below(REGISTERS)}`;
    const product = `p${generation}-${below(PRODUCTS)}`;
    switch (deed) {
      case 'append':
        return { kind: 'lists', steps: steps(true, generation) };
      case 'lists-read':
        return { kind: 'lists', steps: steps(false, generation) };
      case 'register-read':
        return { kind: 'register-read', register };
      case 'register-write':
        return { kind: 'register-write', register, value: value() };
      case 'register-swap':
        return { kind: 'register-swap', register, value: value() };
      case 'order':
        return { kind: 'order', product, quantity: 1 + below(QUANTITY_MAX), value: value() };
      case 'stock-read':
        return { kind: 'stock-read', product };
      case 'notice-read':
        return { kind: 'notice-read' };
      case 'notice-write':
        return { kind: 'notice-write', value: value() };
    }
  };

  return () => {
    const generation = Math.floor(plans / PLANS_OF_A_GENERATION);
    plans++;
    const deed = weighted(mix.deeds, random());
    let subject = oneOf(population.first);
    if (created > 0 && random() < OWN_SUBJECT_CHANCE) {
      subject = population.newcomer(client, created);
    }
    let planned: PlannedAction;
    if (deed === 'create') {
      subject = population.newcomer(client, ++created);
      planned = { kind: 'create', country: subject.country };
    } else {
      planned = action(deed, generation);
    }
    const reads = isRead(planned);
    const level = weighted(mix.levels, random());
    const first = random() < mix.travels ? oneOf(edges) : usual;
    const isKeyed = random() < mix.keyed;
    const bound = oneOf(STALENESS_BOUNDS_MS);
    return {
      restMs: restMsMax * random(),
      subject,
      action: planned,
      level: reads ? level : 'session',
      maxStalenessMs: reads && level === 'bounded' ? bound : undefined,
      key: !reads && isKeyed ? `${subject.id}-${client}-${plans}` : undefined,
      edges: [
        first,
        ...Array.from({ length: ATTEMPTS_MAX - 1 }, () => (random() < 0.5 ? first : oneOf(edges))),
      ],
      newSession: random() < NEW_SESSION_CHANCE,
    };
  };
}

/** Whether it changes nothing. */
export function isRead(action: PlannedAction): boolean {
  switch (action.kind) {
    case 'register-read':
    case 'stock-read':
    case 'notice-read':
      return true;
    case 'lists':
      return action.steps.every((step) => step.do === 'read');
    case 'register-write':
    case 'register-swap':
    case 'order':
    case 'notice-write':
    case 'create':
      return false;
  }
}

function weighted<Name extends string>(
  weights: Readonly<Partial<Record<Name, number>>>,
  drawn: number,
): Name {
  const entries = Object.entries(weights) as [Name, number][];
  let rest = drawn * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [name, weight] of entries) {
    rest -= weight;
    if (rest < 0) return name;
  }
  throw new RangeError('no weights to draw from');
}
