import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareStates, objectOf, ofKind, type States, type Thing } from './cluster-state.ts';
import { ModelWorld } from './model-world-for-tests.ts';
import { PHASES, type Plan, plan, type Step } from './plan.ts';
import { CATALOGUE, desired, mirror, policyOf, REGIONS } from './policies-for-tests.ts';
import type { Mirror, Policy } from './policy.ts';

const CARDS = mirror({ as: 'cards', columns: ['id', 'name'], homes: ['us', 'asia'] });
const NAMELESS = { ...CARDS, columns: ['id'] };
const PAID = mirror({
  as: 'paid',
  columns: ['id', 'user_id', 'status'],
  rows: [{ column: 'status', oneOf: ['paid'] }],
});

function planFor(
  policy: Policy,
  world: ModelWorld,
  change: Partial<Parameters<typeof plan>[0]> = {},
): Plan {
  return plan({
    policy,
    catalogue: CATALOGUE,
    wanted: desired(policy),
    found: world.states,
    pending: new Map(),
    versions: new Map(
      REGIONS.map((id) => [
        id,
        {
          inForce: world.inForce.get(id),
          recorded: world.recorded.has(id) ? [policy.version] : [],
        },
      ]),
    ),
    sameText: () => true,
    anew: new Set(),
    remains: new Map(),
    ...change,
  });
}

/** What the app and the migrations make before any plan. */
function emptyWorld(policy: Policy): ModelWorld {
  const wanted = desired(policy);
  const world = new ModelWorld(CATALOGUE, wanted.keys(), policy.version);
  for (const [cluster, state] of wanted) {
    for (const thing of state.values()) {
      const given =
        (thing.kind === 'table' &&
          thing.name.startsWith('app.') &&
          CATALOGUE.regions.has(cluster)) ||
        (thing.kind === 'identity' && thing.table === 'domicile.directory') ||
        (thing.kind === 'role' && thing.name === 'postgres');
      if (given) world.of(cluster).set(objectOf(thing), thing);
      if (given && thing.kind === 'table') {
        const identity = { kind: 'identity', table: thing.name, columns: 'primary key' } as const;
        world.of(cluster).set(objectOf(identity), identity);
      }
    }
  }
  return world;
}

function carryOut(steps: readonly Step[], world: ModelWorld, check?: (step: Step) => void): void {
  for (const step of steps) {
    try {
      world.do(step);
    } catch (error) {
      throw new Error(`${step.phase} in ${step.cluster}: ${step.words}`, { cause: error });
    }
    check?.(step);
  }
}

function built(policy: Policy): ModelWorld {
  const world = emptyWorld(policy);
  carryOut(planFor(policy, world).steps, world);
  return world;
}

function left(policy: Policy, world: ModelWorld): string[] {
  const { steps, differences } = planFor(policy, world);
  return [...differences.map(({ words }) => words), ...steps.map(({ words }) => words)];
}

const phasesOf = (steps: readonly Step[]) => [...new Set(steps.map(({ phase }) => phase))];
const inWords = (steps: readonly Step[], cluster: string) =>
  steps.filter((step) => step.cluster === cluster).map(({ phase, words }) => `${phase}: ${words}`);

describe('a plan', () => {
  test('for an empty world makes everything, and then there is nothing to do', () => {
    const policy = policyOf(1, { users: [CARDS], orders: [PAID] });
    const world = built(policy);
    expect(left(policy, world)).toEqual([]);
  });

  test('keeps to the order of an apply', () => {
    const v1 = policyOf(1, { users: [CARDS] });
    const v2 = policyOf(2, { orders: [PAID] });
    const world = built(v1).under(2);
    const { steps } = planFor(v2, world);
    const order = phasesOf(steps).map((phase) => PHASES.indexOf(phase));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(phasesOf(steps)).toEqual(
      PHASES.filter((phase) => phase !== 'enforce' || order.includes(2)),
    );
  });

  test('closes before it stops what travels, and that before anything goes', () => {
    const v1 = policyOf(1, { users: [CARDS] });
    const world = built(v1).under(2);
    const { steps } = planFor(policyOf(2, {}), world);
    expect(inWords(steps, 'eu')).toEqual([
      'record: record policy version 2 in eu',
      'close: stop edges of eu from reading cards of us there',
      'close: stop edges of eu from reading cards of asia there',
      'enforce: take select on table mirror.cards in eu from domicile_writer',
      'enforce: take select on table mirror.cards in eu from domicile_reader',
      'enforce: take select on table mirror.cards in eu from domicile_abroad',
      'forget: let eu follow mirror_us.users of us no more',
      'forget: let eu follow mirror_asia.users of asia no more',
      'forget: drop view mirror.cards of eu',
      'forget: drop mirror_us.users of eu with its rows',
      'forget: drop mirror_asia.users of eu with its rows',
      'forget: note since when mirror_us.users, mirror_asia.users cannot be queried in eu',
      'erase: let the bytes of mirror_us.users, mirror_asia.users leave the disks of eu, and prove it',
      'put in force: put policy version 2 in force in eu in place of version 1',
    ]);
  });

  test('of fewer columns fills anew instead of altering, and leaves other tables alone', () => {
    const v1 = policyOf(1, { users: [CARDS], orders: [PAID] });
    const v2 = policyOf(2, { users: [NAMELESS], orders: [PAID] });
    const world = built(v1).under(2);
    const { steps } = planFor(v2, world);
    const objects = steps.map(({ object, words }) => `${object} ${words}`).join('\n');
    expect(objects).not.toContain('orders');
    expect(inWords(steps, 'us-x')).toContain('forget: drop app.users of us-x with its rows');
    carryOut(steps, world);
    expect(left(v2, world)).toEqual([]);
  });

  test('names the rows that a changed condition would leave behind, by filling anew', () => {
    const v1 = policyOf(1, { orders: [PAID] });
    const rows = [{ column: 'status', oneOf: ['paid', 'shipped'] }];
    const v2 = policyOf(2, { orders: [{ ...PAID, rows }] });
    const world = built(v1).under(2);
    const { steps } = planFor(v2, world);
    expect(inWords(steps, 'eu')).toContain('forget: drop mirror_us.orders of eu with its rows');
    carryOut(steps, world);
    expect(left(v2, world)).toEqual([]);
  });

  test('of the same version and another text records it, and of the same text does not', () => {
    const policy = policyOf(1, {});
    const world = built(policy);
    expect(planFor(policy, world).steps).toEqual([]);
    expect(phasesOf(planFor(policy, world, { sameText: () => false }).steps)).toEqual(['record']);
  });

  test('waits for copies that are under way', () => {
    const policy = policyOf(1, { users: [CARDS] });
    const world = built(policy);
    const pending = new Map([
      ['eu', [{ subscription: 'domicile_from_us', table: 'mirror_us.users' }]],
    ]);
    const { steps } = planFor(policy, world, { pending });
    expect(steps.map(({ action }) => action.do)).toEqual(['await copies']);
  });

  test('asks again about bytes that were not proven to be gone', () => {
    const policy = policyOf(1, {});
    const remains = new Map([['eu', ['mirror_us.users']]]);
    const { steps } = planFor(policy, built(policy), { remains });
    expect(steps.map(({ action }) => action)).toEqual([{ do: 'erase', what: ['mirror_us.users'] }]);
  });

  test('refuses a table that nobody declared, and drops one in an airlock', () => {
    const policy = policyOf(1, {});
    const world = built(policy);
    const table = { kind: 'table', columns: [], primaryKey: [], part: undefined } as const;
    const put = (cluster: string, name: string) =>
      world.of(cluster).set(`table ${name}`, { ...table, name });
    put('eu', 'app.secrets');
    put('us', 'public.copy');
    put('asia-y', 'app.hoard');
    const { refusals, steps } = planFor(policy, world);
    expect(refusals.map(({ words }) => words)).toEqual([
      'us: the policy does not say whose public.copy is; declare it under "tables"',
      'eu: the policy does not say whose secrets is; declare it under "tables"',
    ]);
    expect(steps.filter(({ action }) => action.do === 'sql').map(({ words }) => words)).toEqual([
      'drop app.hoard of asia-y with its rows',
    ]);
  });

  test.each<[string, Thing, string]>([
    [
      'publication',
      { kind: 'publication', name: 'leak', options: 'insert; named tables only' },
      'drop publication leak of us, which nobody declared',
    ],
    [
      'slot',
      { kind: 'slot', name: 'leak', replica: undefined, definition: 'logical pgoutput' },
      'drop slot leak of us, which nobody declared',
    ],
    [
      'slot of a replica, even under a name that the primary may have',
      {
        kind: 'slot',
        name: 'domicile_home_us_x',
        replica: 'us-b',
        definition: 'logical pgoutput, failover',
      },
      'drop slot domicile_home_us_x of us-b, which nobody declared',
    ],
    [
      'subscription',
      {
        kind: 'subscription',
        name: 'leak',
        connection: 'to eu',
        publications: ['all_of_it'],
        slot: 'leak',
        options: 'enabled',
      },
      'drop subscription leak of us, which nobody declared',
    ],
    [
      'role',
      { kind: 'role', name: 'leak', attributes: ['login', 'bypassrls'] },
      'take bypassrls from role leak in us, which nobody declared',
    ],
    [
      'row policy',
      {
        kind: 'row policy',
        table: 'app.users',
        name: 'leak',
        using: { sql: 'true' },
        check: { sql: 'true' },
        scope: 'permissive, all commands, public',
      },
      'drop row policy leak of app.users in us, which nobody declared',
    ],
    [
      'view',
      { kind: 'view', name: 'mirror.leak', query: { sql: 'select 1' }, columns: [] },
      'drop view mirror.leak of us',
    ],
    [
      'setting',
      { kind: 'setting', role: 'everybody', name: 'row_security', value: 'off' },
      'reset row_security of everybody in us',
    ],
    [
      'publication of everything under a name that is known',
      { kind: 'publication', name: 'domicile_out_us_x', options: 'insert; all tables' },
      'drop publication domicile_out_us_x of us, which carries insert; all tables',
    ],
  ])('takes away a %s', (_what, thing, words) => {
    const policy = policyOf(1, { users: [CARDS] });
    const world = built(policy);
    world.of('us').set(objectOf(thing), thing);
    const { steps } = planFor(policy, world);
    expect(
      steps.filter(({ direction }) => direction === 'narrow').map((one) => one.words),
    ).toContain(words);
  });

  test('a subscription that is to begin anew is closed, dropped, emptied, filled and opened', () => {
    const policy = policyOf(1, { users: [CARDS] });
    const world = built(policy);
    const { steps } = planFor(policy, world, { anew: new Set(['us-x domicile_home_us_x']) });
    expect(inWords(steps, 'eu')[0]).toMatch(/^close: .* while it is filled anew$/);
    carryOut(steps, world);
    expect(left(policy, world)).toEqual([]);
  });
});

/** One thing that somebody changes by hand. */
const DRIFTS: readonly ((
  world: ModelWorld,
  pick: <T>(all: readonly T[]) => T | undefined,
) => void)[] = [
  (world, pick) => remove(world, pick, 'grant'),
  (world, pick) => remove(world, pick, 'constraint'),
  (world, pick) => remove(world, pick, 'row policy'),
  (world, pick) => remove(world, pick, 'opening'),
  (world, pick) => remove(world, pick, 'setting'),
  (world, pick) => remove(world, pick, 'published'),
  (world, pick) =>
    change(world, pick, 'slot', (slot) => ({ ...slot, definition: `${slot.definition}, lost` })),
  (world, pick) =>
    change(world, pick, 'published', (line) => ({ ...line, where: { sql: 'true' } })),
  (world, pick) => change(world, pick, 'published', (line) => ({ ...line, columns: undefined })),
  (world, pick) =>
    change(world, pick, 'subscription', (one) => ({
      ...one,
      options: one.options.replace('enabled', 'disabled'),
    })),
  (world, pick) =>
    change(world, pick, 'subscription', (one) => ({
      ...one,
      options: one.options.replace(/origin \w+/, 'origin other'),
    })),
  (world, pick) =>
    change(world, pick, 'row security', (one) => ({ ...one, enabled: !one.enabled })),
  (world, pick) =>
    change(world, pick, 'publication', (one) => ({
      ...one,
      options: 'insert, update, delete, truncate; named tables only',
    })),
  (world, pick) => {
    const cluster = pick([...world.states.keys()]);
    if (cluster === undefined) return;
    const things: Thing[] = [
      { kind: 'publication', name: 'rogue', options: 'insert; all tables' },
      { kind: 'slot', name: 'rogue', replica: undefined, definition: 'logical test_decoding' },
      { kind: 'role', name: 'rogue', attributes: ['login', 'replication'] },
      { kind: 'grant', privilege: 'select', on: 'table domicile.residents', to: 'public' },
      { kind: 'membership', role: 'domicile_router', of: 'pg_read_all_data' },
    ];
    const thing = pick(things);
    if (thing !== undefined) world.of(cluster).set(objectOf(thing), thing);
  },
];

type Pick = <T>(all: readonly T[]) => T | undefined;

function change<K extends Thing['kind']>(
  world: ModelWorld,
  pick: Pick,
  kind: K,
  how: (thing: Extract<Thing, { kind: K }>) => Thing,
): void {
  const all = [...world.states].flatMap(([cluster, state]) =>
    ofKind(state, kind).map((thing) => ({ cluster, thing })),
  );
  const one = pick(all);
  if (one === undefined) return;
  world.of(one.cluster).set(objectOf(one.thing), how(one.thing as Extract<Thing, { kind: K }>));
}

function remove(world: ModelWorld, pick: Pick, kind: Thing['kind']): void {
  const all = [...world.states].flatMap(([cluster, state]) =>
    ofKind(state, kind).map((thing) => ({ cluster, thing })),
  );
  const one = pick(all);
  if (one !== undefined) world.of(one.cluster).delete(objectOf(one.thing));
}

const someRegions = fc.subarray([...REGIONS], { minLength: 1 });
const someMirror = (as: string, always: string[], more: string[], filters: string[]) =>
  fc
    .record({
      columns: fc.subarray(more),
      filter: fc.option(fc.constantFrom(...filters), { nil: undefined }),
      oneOf: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      homes: someRegions,
      to: someRegions,
    })
    .map(({ columns, filter, oneOf, homes, to }): Mirror => {
      const all = new Set([...always, ...columns, ...(filter === undefined ? [] : [filter])]);
      const rows = filter === undefined ? [] : [{ column: filter, oneOf }];
      return { as, columns: [...all], rows, homes, to };
    });
const some = fc.record({
  users: fc.array(someMirror('cards', ['id'], ['name', 'email', 'country'], ['country', 'id']), {
    maxLength: 1,
  }),
  orders: fc.array(
    someMirror('sold', ['id', 'user_id'], ['status', 'cents'], ['status', 'cents']),
    {
      maxLength: 1,
    },
  ),
  owner: fc.constantFrom(...REGIONS),
});

/** What must hold at every moment of an apply, apart from what the model itself refuses. */
function watcher(world: ModelWorld, before: States, policy: Policy): (step: Step) => void {
  const had = (cluster: string, thing: Thing) =>
    compareStates(
      new Map([[cluster, new Map([[objectOf(thing), thing]])]]),
      new Map([
        [cluster, new Map([...(before.get(cluster) ?? [])].filter(([o]) => o === objectOf(thing)))],
      ]),
    ).length === 0;
  return (step) => {
    if (PHASES.indexOf(step.phase) < PHASES.indexOf('put in force')) {
      for (const [cluster, state] of world.states) {
        for (const kind of ['published', 'opening'] as const) {
          for (const thing of ofKind(state, kind)) {
            if (!had(cluster, thing)) throw new Error(`${objectOf(thing)} widens before its time`);
          }
        }
      }
    }
    if (PHASES.indexOf(step.phase) < PHASES.indexOf('enforce')) return;
    for (const served of world.edgesMayServe) {
      const [cluster = '', name = '', home = ''] = served.split(' ');
      const table = [...policy.tables.values()].find(
        (one) => one.kind === 'subject' && one.mirrors.some(({ as }) => as === name),
      );
      const there = table === undefined ? `app.${name}` : `mirror_${home}.${table.name}`;
      const followed = world.of(cluster).has(`${there} in subscription domicile_from_${home}`);
      if (!followed || !world.filled.has(`${cluster} ${there}`)) {
        throw new Error(`edges may serve ${served}, which is not followed`);
      }
      const airlock = CATALOGUE.regions
        .get(home)
        ?.airlocks.find(({ peers }) => peers.includes(cluster));
      const left = table === undefined ? `app.${name}` : `app.${table.name}`;
      if (
        !world
          .of(airlock?.name ?? '')
          .has(`${left} in subscription domicile_home_${airlock?.name.replace('-', '_')}`)
      ) {
        throw new Error(`edges may serve ${served}, which has stopped in ${airlock?.name}`);
      }
    }
  };
}

describe('from any policy to any other', () => {
  test('an apply ends where the policy wants it, cut off anywhere, over any drift', () => {
    fc.assert(
      fc.property(
        some,
        some,
        fc.array(fc.tuple(fc.nat(DRIFTS.length - 1), fc.nat()), { maxLength: 3 }),
        fc.array(fc.nat({ max: 120 }), { maxLength: 3 }),
        (first, second, drifts, cuts) => {
          const v1 = policyOf(1, first);
          const v2 = policyOf(2, second);
          const world = built(v1).under(2);
          for (const [index, seed] of drifts) {
            DRIFTS[index]?.(world, (all) => all[seed % Math.max(1, all.length)]);
          }
          for (const cut of [...cuts, Number.POSITIVE_INFINITY]) {
            const before = new Map(
              [...world.states].map(([name, state]) => [name, new Map(state)]),
            );
            const { steps } = planFor(v2, world);
            const inForce = world.inForce.get('us') === 2;
            const watch = inForce ? undefined : watcher(world, before, v2);
            carryOut(steps.slice(0, cut), world, watch);
          }
          expect(left(v2, world)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  }, 120_000);
});
