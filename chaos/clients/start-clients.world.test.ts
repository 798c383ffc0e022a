import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type FurtherEdge,
  startTestDomicile,
  type TestDomicile,
} from '../../router/world-for-tests.ts';
import { judgeForeignBytes } from '../foreign-bytes/judge-foreign-bytes.ts';
import type { Action, Operation, Settled, Shown, Value } from '../history.ts';
import type { MixName } from './mixes.ts';
import { type Clients, startClients } from './start-clients.ts';

const at = (file: string) =>
  fileURLToPath(new URL(`../../examples/witness/${file}`, import.meta.url));
const UNITS_OF_A_PRODUCT = 20;

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile({
    app: at('app.ts'),
    policy: at('residency.yaml'),
    schema: at('schema.sql'),
    recordWire: true,
  });
});
afterAll(() => domicile?.remove());

let runs = 0;
function start(mix: MixName, further: Record<string, string[]> = {}): Promise<Clients> {
  const edges = ['us', 'eu', 'asia'].map(
    (region) => [region, [...(further[region] ?? []), domicile.url(region)]] as const,
  );
  const began = performance.now();
  return startClients({
    edges: new Map(edges),
    seed: 7,
    run: `t${++runs}`,
    mix,
    now: () => performance.now() - began,
  });
}

/** Lets them work until they have done what the test is about. */
async function until(clients: Clients, is: (operations: readonly Operation[]) => boolean) {
  const limit = performance.now() + 60_000;
  while (!is(clients.operations())) {
    if (performance.now() > limit) return;
    await sleep(100);
  }
}

type Done<Kind extends Action['kind']> = Operation & {
  action: Extract<Action, { kind: Kind }>;
  outcome: { kind: 'ok'; shown: Shown };
};

function done<Kind extends Action['kind']>(operations: readonly Operation[], kind: Kind) {
  return operations.filter(
    ({ action, outcome }) => action.kind === kind && outcome.kind === 'ok',
  ) as Done<Kind>[];
}

describe('clients of every kind, at all edges', () => {
  let operations: readonly Operation[];
  let settled: readonly Settled[];
  let clients: Clients;

  beforeAll(async () => {
    clients = await start('everything');
    await until(clients, (so) => so.length > 1_500 && doneKinds(so).size === 9);
    operations = await clients.stop();
    settled = await clients.settle();
  }, 180_000);

  function doneKinds(so: readonly Operation[]) {
    return new Set(so.flatMap((one) => (one.outcome.kind === 'ok' ? one.action.kind : [])));
  }

  test('do every kind of thing, at every level, at every edge', () => {
    expect(doneKinds(operations)).toEqual(
      new Set([
        'create',
        'lists',
        'register-read',
        'register-write',
        'register-swap',
        'order',
        'stock-read',
        'notice-read',
        'notice-write',
      ]),
    );
    const done = operations.filter(({ outcome }) => outcome.kind === 'ok');
    expect(new Set(done.map(({ level }) => level)).size).toBe(4);
    expect(new Set(done.map(({ edge }) => edge)).size).toBe(3);
    expect(new Set(done.map(({ home }) => home)).size).toBe(3);
    expect(done.some(({ keyed }) => keyed)).toBe(true);
    expect(done.some(({ told }) => told?.decision?.includes('mirror'))).toBe(true);
  });

  test('are seldom refused while nothing is broken, and then for want of time only', () => {
    const others = operations.filter(({ outcome }) => outcome.kind !== 'ok');
    const because = others.map(({ outcome }) => ('because' in outcome ? outcome.because : ''));
    const forWantOfTime = ['deadline-exceeded', 'overloaded', 'staleness-unmet'];
    expect(because.filter((why) => !forWantOfTime.includes(why))).toEqual([]);
    expect(others.length).toBeLessThan(operations.length / 10);
  });

  test('are noted in order, each client with one operation at a time', () => {
    expect(operations.map(({ id }) => id)).toEqual(operations.map((_, at) => at));
    const ended = new Map<number, number>();
    for (const { client, invokedAtMs, endedAtMs } of operations) {
      expect(invokedAtMs).toBeGreaterThanOrEqual(ended.get(client) ?? 0);
      expect(endedAtMs).toBeGreaterThanOrEqual(invokedAtMs);
      ended.set(client, endedAtMs);
    }
    const values = operations.flatMap(valuesOf);
    expect(new Set(values).size).toBe(values.length);
  });

  test('find all that was acknowledged in the end, once, and nothing else', () => {
    holdsWhatWasWritten(operations, settled, clients);
  });

  test('see in each session what it has seen, at whichever edge', () => {
    const seen = new Map<string, { endedAtMs: number; values: readonly Value[] }[]>();
    let compared = 0;
    for (const { session, subject, action, level, outcome, invokedAtMs, endedAtMs } of done(
      operations,
      'lists',
    )) {
      const { shown } = outcome;
      if (shown.kind !== 'lists') throw new Error('lists that show something else');
      action.steps.forEach((step, i) => {
        const of = `${session} ${subject} ${step.list}`;
        const floors = seen.get(of) ?? [];
        seen.set(of, floors);
        const list = shown.lists[i];
        if (step.do === 'append') {
          floors.push({ endedAtMs, values: [step.value] });
          return;
        }
        if (list === undefined) throw new Error('a read that shows nothing');
        if (level === 'session') {
          for (const floor of floors) {
            if (floor.endedAtMs > invokedAtMs) continue;
            compared++;
            expect(list).toEqual(expect.arrayContaining([...floor.values]));
          }
          floors.push({ endedAtMs, values: list });
        }
      });
    }
    expect(compared).toBeGreaterThan(100);
  });

  test('swap registers both ways, and sell products out', () => {
    const swaps = done(operations, 'register-swap').map(({ outcome }) => outcome.shown.kind);
    expect(new Set(swaps)).toEqual(new Set(['register', 'unchanged']));
    const orders = done(operations, 'order').map(({ outcome }) => outcome.shown.kind);
    expect(new Set(orders)).toEqual(new Set(['nothing', 'unchanged']));
    const stocks = done(operations, 'stock-read').map(({ outcome }) => outcome.shown);
    for (const stock of stocks) {
      if (stock.kind !== 'stock') throw new Error('a stock that shows something else');
      expect(stock.left).toBeGreaterThanOrEqual(0);
      expect(stock.left + sumOf(stock.ordered)).toBe(UNITS_OF_A_PRODUCT);
    }
  });

  test('leave their marks where policy lets them, and a mark elsewhere is found', async () => {
    const { root, catalogue } = domicile;
    const markers = clients.marks();
    const judgement = await judgeForeignBytes({ root, catalogue, markers });
    expect(judgement).toMatchObject({ verdict: 'holds', violations: [] });
    expect(judgement.checked).toBeGreaterThan(1_000);

    const stray = markers.find(({ home, copies }) => home === 'eu' && copies.length === 0)?.text;
    await domicile.sql('us-a', async (sql) => {
      await sql`create table public.stray as select ${stray ?? ''}::text as mark`;
    });
    const broken = await judgeForeignBytes({ root, catalogue, markers });
    expect(broken.verdict).toBe('broken');
    expect(broken.violations[0]?.says).toMatch(/canary-eu-.*lies in us-[ab], a node of us: /);
  }, 120_000);
});

describe('an edge that is killed in mid-request', () => {
  let edge: FurtherEdge;

  test('keyed writes are retried at another edge, and land once', async () => {
    edge = await domicile.startEdge({ region: 'eu', app: at('app.ts') });
    const clients = await start('shop', { eu: [edge.url] });
    await until(clients, (so) => so.length > 200);
    // What comes while it rests is read by nobody; what came before is in the middle of something.
    edge.child.kill('SIGSTOP');
    await sleep(400);
    edge.child.kill('SIGKILL');
    const elsewhere = (so: readonly Operation[]) =>
      so.filter(
        ({ edge, retriedAt, outcome, keyed }) =>
          keyed && edge === 'eu' && outcome.kind === 'ok' && retriedAt?.some((to) => to !== 'eu'),
      );
    await until(clients, (so) => elsewhere(so).length > 2);
    const operations = await clients.stop();
    expect(elsewhere(operations).length).toBeGreaterThan(2);
    for (const { attempts, retriedAt } of elsewhere(operations)) {
      expect(attempts).toBe(1 + (retriedAt?.length ?? 0));
    }
    // Somebody did not learn of what they did without a key, and went on as somebody new.
    const unknown = operations.filter(({ outcome }) => outcome.kind === 'unknown');
    for (const { client, endedAtMs } of unknown) {
      expect(operations.some((one) => one.client === client && one.invokedAtMs > endedAtMs)).toBe(
        false,
      );
    }
    holdsWhatWasWritten(operations, await clients.settle(), clients);
  }, 180_000);
});

/** What is there against what was acknowledged, refused, and never answered. */
function holdsWhatWasWritten(
  operations: readonly Operation[],
  settled: readonly Settled[],
  clients: Clients,
): void {
  expect(settled.map(({ subject }) => subject).toSorted()).toEqual(
    clients
      .subjects()
      .map(({ id }) => id)
      .toSorted(),
  );
  const bySubject = new Map(settled.map((one) => [one.subject, one]));
  let appended = 0;
  let ordered = 0;
  for (const { subject, action, outcome } of operations) {
    const found = bySubject.get(subject);
    if (found === undefined || outcome.kind === 'unknown') continue;
    const isDone = outcome.kind === 'ok' && outcome.shown.kind !== 'unchanged';
    if (action.kind === 'lists') {
      for (const step of action.steps) {
        if (step.do === 'read') continue;
        appended++;
        expect(countOf(found.lists[step.list] ?? [], step.value)).toBe(isDone ? 1 : 0);
      }
    }
    if (action.kind === 'order') {
      ordered++;
      const values = found.stock[action.product]?.ordered.map(({ value }) => value) ?? [];
      expect(countOf(values, action.value)).toBe(isDone ? 1 : 0);
    }
  }
  expect(appended + ordered).toBeGreaterThan(50);
  const attempted = new Set(operations.flatMap(valuesOf));
  for (const { lists, registers, stock, notice } of settled) {
    const there = [
      ...Object.values(lists).flat(),
      ...Object.values(registers),
      ...Object.values(stock).flatMap((one) => one.ordered.map(({ value }) => value)),
      ...(notice === undefined ? [] : [notice]),
    ];
    expect(there.filter((value) => !attempted.has(value))).toEqual([]);
    for (const { left, ordered: orders } of Object.values(stock)) {
      expect(left + sumOf(orders)).toBe(UNITS_OF_A_PRODUCT);
    }
  }
}

function valuesOf({ action }: Operation): Value[] {
  if (action.kind === 'lists') {
    return action.steps.flatMap((step) => (step.do === 'append' ? step.value : []));
  }
  return 'value' in action ? [action.value] : [];
}

function countOf(values: readonly Value[], value: Value): number {
  return values.filter((one) => one === value).length;
}

function sumOf(orders: readonly { quantity: number }[]): number {
  return orders.reduce((sum, { quantity }) => sum + quantity, 0);
}
