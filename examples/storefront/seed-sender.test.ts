import { describe, expect, test } from 'vitest';
import type { Answer, Asked, EdgeClient } from './edge-client.ts';
import { seedData } from './seed-data.ts';
import { type SendOutcome, send } from './seed-sender.ts';
import { seededRandom } from './seeded-random.ts';

type Stored = { displayName: string; country: string; orders: { id: string; version: number }[] };

/** A shop with one home, which can be told to misbehave before or after it acts. */
class Shop {
  users = new Map<string, Stored>();
  fault: (asked: Asked, at: 'before' | 'after') => Answer | undefined = () => undefined;

  client(region: string): EdgeClient {
    return { region, close: () => {}, ask: async (asked) => this.#answer(asked) };
  }

  get orders(): number {
    return [...this.users.values()].reduce((sum, { orders }) => sum + orders.length, 0);
  }

  #answer(asked: Asked): Answer {
    const refused = this.fault(asked, 'before');
    if (refused !== undefined) return refused;
    const acted = this.#act(asked);
    return this.fault(asked, 'after') ?? acted;
  }

  #act({ method, path, body }: Asked): Answer {
    if (path === '/users') {
      const { id, displayName, country } = body as Stored & { id: string };
      if (this.users.has(id)) return problem(409, 'subject-exists', 'after-change');
      this.users.set(id, { displayName, country, orders: [] });
      return answered(201, { id });
    }
    const [, , id = '', , order] = new URL(path, 'http://shop').pathname.split('/');
    const user = this.users.get(id);
    if (user === undefined) return problem(404, 'unknown-subject', 'after-change');
    if (method === 'GET' && !path.includes('/orders')) return answered(200, user);
    if (method === 'GET') {
      const after = Number(new URL(path, 'http://shop').searchParams.get('after') ?? 0);
      const page = structuredClone(user.orders.toReversed().slice(after, after + 100));
      return answered(200, { orders: page, next: page.length < 100 ? null : String(after + 100) });
    }
    if (method === 'POST') {
      const placed = { id: `${id}.${user.orders.length}`, version: 1 };
      user.orders.push(placed);
      return answered(201, { ...placed });
    }
    const found = user.orders.find((one) => one.id === order);
    const { version } = body as { version: number };
    if (found?.version !== version) return problem(409, 'conflict', 'after-change');
    found.version++;
    return answered(200, { ...found });
  }
}

const answered = (status: number, body: unknown): Answer => ({
  kind: 'answered',
  status,
  headers: { 'domicile-home': 'us' },
  body,
});
const problem = (status: number, kind: string, retry: string): Answer =>
  answered(status, { type: `/docs/problems.md#${kind}`, title: kind, retry, home: 'us' });

const users = seedData({ users: 10, orders: 1_000, seed: 1 });
const changeCount = users
  .flatMap(({ orders }) => orders)
  .reduce((sum, { changes }) => sum + changes.length, 0);

function sendTo(shop: Shop, data = users): Promise<SendOutcome> {
  return send({
    edges: [shop.client('us'), shop.client('eu')],
    users: data,
    concurrency: 4,
    pause: async () => {},
    onProgress: () => {},
  });
}

function changesIn(shop: Shop): number {
  return [...shop.users.values()]
    .flatMap(({ orders }) => orders)
    .reduce((sum, { version }) => sum + version - 1, 0);
}

describe('sending the sample data', () => {
  test('brings every user, order and status change once', async () => {
    const shop = new Shop();
    const outcome = await sendTo(shop);
    expect(outcome).toMatchObject({
      kind: 'done',
      tally: { users: { created: 10, found: 0 }, orders: { created: 1_000, found: 0 } },
    });
    expect([shop.users.size, shop.orders, changesIn(shop)]).toEqual([10, 1_000, changeCount]);
  });

  test('a second time adds nothing and finds everything, beyond the first page of orders too', async () => {
    const shop = new Shop();
    await sendTo(shop);
    expect(Math.max(...[...shop.users.values()].map((u) => u.orders.length))).toBeGreaterThan(100);
    expect(await sendTo(shop)).toMatchObject({
      tally: {
        users: { created: 0, found: 10 },
        orders: { created: 0, found: 1_000 },
        changes: { created: 0, found: changeCount },
      },
    });
    expect(shop.orders).toBe(1_000);
  });

  test('what a run that was cut off has left out is added by the next', async () => {
    const shop = new Shop();
    let left = 200;
    shop.fault = (_, at) =>
      at === 'before' && left-- <= 0 ? problem(403, 'closed', 'after-change') : undefined;
    expect(await sendTo(shop)).toMatchObject({ kind: 'refused' });
    expect(shop.orders).toBeLessThan(1_000);
    shop.fault = () => undefined;
    await sendTo(shop);
    expect([shop.users.size, shop.orders, changesIn(shop)]).toEqual([10, 1_000, changeCount]);
  });

  test('a write whose answer is lost is looked up, and not done twice', async () => {
    const shop = new Shop();
    let count = 0;
    shop.fault = ({ method }, at) =>
      at === 'after' && method !== 'GET' && ++count % 50 === 0
        ? { kind: 'silent', why: 'ECONNRESET' }
        : undefined;
    expect(await sendTo(shop)).toMatchObject({ kind: 'done' });
    expect([shop.users.size, shop.orders, changesIn(shop)]).toEqual([10, 1_000, changeCount]);
  });

  test('a refusal that is safe to repeat is repeated, a bounded number of times', async () => {
    const shop = new Shop();
    const random = seededRandom(1, 1);
    shop.fault = (_, at) =>
      at === 'before' && random() < 0.2 ? problem(503, 'overloaded', 'safe') : undefined;
    expect(await sendTo(shop)).toMatchObject({ kind: 'done' });
    expect(shop.orders).toBe(1_000);
    shop.fault = () => problem(503, 'overloaded', 'safe');
    expect(await sendTo(shop)).toEqual({
      kind: 'refused',
      why: expect.stringContaining('answers 503 to /users: overloaded'),
    });
  });

  test('an id that is there and is somebody else stops the run', async () => {
    const shop = new Shop();
    await sendTo(shop);
    const others = seedData({ users: 10, orders: 1_000, seed: 2 });
    expect(await sendTo(shop, others)).toEqual({
      kind: 'refused',
      why: expect.stringContaining('somebody else'),
    });
    expect(shop.orders).toBe(1_000);
  });
});
