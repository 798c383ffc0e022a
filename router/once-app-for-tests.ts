/**
 * The storefront, with handlers that make it hard to do a request once: they fail, catch, wait,
 * answer strange things, and look where they must not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import storefront from '../examples/storefront/app.ts';
import { type Domicile, place, Refusal, reads, reference, type Sql, subject } from './domicile.ts';

/** How often each handler of this process was begun, by its path. */
const begun = new Map<string, number>();

function begins(path: string): number {
  const times = (begun.get(path) ?? 0) + 1;
  begun.set(path, times);
  return times;
}

/** What handlers of this process have come to, by the user that they served. */
const marks = new Map<string, string[]>();

function mark(user: string, what: string): void {
  marks.set(user, [...(marks.get(user) ?? []), what]);
}

const order = (sql: Sql, user: string, cents: number) =>
  sql`insert into orders (user_id, total_cents) values (${user}, ${cents})`;

const count = async (sql: Sql, user: string) => {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from orders where user_id = ${user}`;
  return row?.count ?? -1;
};

export default new Hono<Domicile>()
  .use('/users/:user/once/search', reads())
  .use(
    '/users/:user/once/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  /** Stores an order, and fails the first time in the way that is asked for. */
  .post('/users/:user/once/fails/:how', async (c) => {
    const user = c.var.subject;
    await c.var.data.write((sql) => order(sql, user, 1));
    if (begins(c.req.path) > 1) return c.json({ stored: true }, 201);
    switch (c.req.param('how')) {
      case 'throws':
        throw new RangeError('of its own');
      case 'refuses':
        throw new Refusal({ kind: 'invalid-request', complaints: [] });
      case 'late':
        await sleep(6_000);
        await c.var.data
          .write((sql) => order(sql, user, 2))
          .finally(() => mark(user, 'tried to write late'));
        return c.json({ stored: 'late' }, 201);
      case 'forgets':
        // Nobody waits for it, and its request has failed by then.
        void sleep(200)
          .then(() => c.var.data.write((sql) => order(sql, user, 2)))
          .catch(() => {})
          .finally(() => mark(user, 'tried to write late'));
        throw new RangeError('of its own');
      default:
        return c.json({ stored: false }, 503);
    }
  })

  .get('/users/:user/once/marks', (c) => c.json(marks.get(c.var.subject) ?? []))

  .post('/users/:user/once/slow/:ms', async (c) => {
    mark(c.var.subject, 'began slowly');
    await c.var.data.write((sql) => order(sql, c.var.subject, 1));
    await sleep(Number(c.req.param('ms')));
    return c.json({ times: begins(c.req.path) }, 201);
  })

  /** Everything that an answer can be. */
  .post('/users/:user/once/answers/:what', async (c) => {
    await c.var.data.write((sql) => order(sql, c.var.subject, 1));
    switch (c.req.param('what')) {
      case 'nothing':
        return c.body(null, 204);
      case 'bytes': {
        c.header('set-cookie', 'a=1', { append: true });
        c.header('set-cookie', 'b=2', { append: true });
        c.header('x-order', String(begins(c.req.path)));
        c.header('etag', '"1"');
        c.header('location', '/somewhere');
        return c.body(new Uint8Array([0, 255, 10, 13, 128]), 202, { 'content-type': 'image/x' });
      }
      case 'stream': {
        const part = new TextEncoder().encode('part');
        const body = new ReadableStream({
          start(controller) {
            for (let i = 0; i < 3; i++) controller.enqueue(part);
            controller.close();
          },
        });
        return c.body(body, 200);
      }
      case 'much':
        return c.text('x'.repeat(2 * 1024 * 1024));
      case 'nobody':
        return c.notFound();
      default:
        return c.json({ no: begins(c.req.path) }, 409);
    }
  })

  /** Catches what fails in the middle, and goes on with what there is. */
  .post('/users/:user/once/catches', async (c) => {
    const user = c.var.subject;
    const { data } = c.var;
    await data.write((sql) => order(sql, user, 1));
    const failed = await data
      .write(async (sql) => {
        await order(sql, user, 2);
        await sql`insert into orders (user_id, total_cents) values (${user}, -1)`;
      })
      .catch((error) => (error instanceof Refusal ? error.failure.kind : 'other'));
    const wrote = await data
      .read((sql) => order(sql, user, 3))
      .catch((error) => (error instanceof Refusal ? error.failure.kind : 'other'));
    await data.write((sql) => order(sql, user, 4));
    return c.json({ failed, wrote, orders: await data.read((sql) => count(sql, user)) });
  })

  /** Two at once, and one inside the other. */
  .post('/users/:user/once/tangled', async (c) => {
    const user = c.var.subject;
    const { data } = c.var;
    await Promise.all([
      data.write((sql) => order(sql, user, 1)),
      data.write((sql) => order(sql, user, -1)).catch(() => {}),
      data.write((sql) => order(sql, user, 2)),
    ]);
    const inside = await data.write(async (sql) => {
      await order(sql, user, 3);
      return data.read((inner) => count(inner, user));
    });
    return c.json({ inside });
  })

  /** Changes nothing, so it may be repeated anyway. */
  .post('/users/:user/once/search', async (c) =>
    c.json({ orders: await c.var.data.read((sql) => count(sql, c.var.subject)) }),
  )

  /** What SQL that was smuggled in would try, knowing the hashes of somebody else's key. */
  .post('/users/:user/once/steals/:how', async (c) => {
    const { key, request } = await c.req.json<{ key: string; request: string }>();
    const [k, r] = [Buffer.from(key, 'hex'), Buffer.from(request, 'hex')];
    const rows = await c.var.data.write(async (sql) => {
      switch (c.req.param('how')) {
        case 'table':
          return sql`select status from domicile.answers`;
        case 'function':
          return sql`select found from domicile.find_answer(${k}, ${r}, 100000000)`;
        case 'as-nobody':
          await sql`select set_config('domicile.subject', '', true)`;
          return sql`select found from domicile.find_answer(${k}, ${r}, 100000000)`;
        case 'store':
          return sql`select domicile.store_answer(${k}, ${r}, 100000000, 200, '[]'::jsonb, ${r})`;
        case 'receipt':
          // Settled by a transaction that began after this one, and is over by then.
          await order(sql, c.var.subject, 1);
          await sql`select pg_sleep(1)`;
          return sql`select domicile.leave_placement(${k}, 1, 'stolen', null, null, null, 'edge')`;
        default:
          return sql`select domicile.forget_answers(0, 100)`;
      }
    });
    return c.json(rows);
  })

  /** Creates somebody, and fails the first time. */
  .post(
    '/fickle',
    place((c) => ({
      id: c.req.header('x-user'),
      attributes: { country: c.req.header('x-country') ?? '' },
    })),
    async (c) => {
      const id = c.var.subject;
      await c.var.data.write(
        (sql) => sql`
          insert into users (id, display_name, email, country)
          values (${id}, 'Fickle', 'a@mail.example', ${c.req.header('x-country') ?? ''})`,
      );
      if (begins(id) === 1) throw new Error('after the write');
      return c.json({ id }, 201);
    },
  )

  .use('/products/*', reference('products'))
  .post('/products/:product/dearer', async (c) => {
    const [product] = await c.var.data.write(
      (sql) => sql`
        update products set unit_cents = unit_cents + 1 where id = ${c.req.param('product')}
        returning unit_cents as "unitCents"`,
    );
    return c.json(product ?? {});
  })

  .route('/', storefront);
