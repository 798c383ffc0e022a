/**
 * What does an app look like that is made to be checked?
 *
 * Every user has lists that only grow, registers that are written, read and swapped, a stall with
 * stock and orders, and one public notice that policy mirrors abroad. Each write brings a `value`
 * that no other one has, so whoever records requests and answers can say afterwards what must be
 * there, what may be there, and what nobody may have seen. It runs like every app:
 *
 *     npm start -- --app examples/witness/app.ts
 *
 * Two facts that a checker relies on. All transactions over lists of one user come one after the
 * other, because each takes the user's row first; and each answer of a read comes from one statement,
 * so from one snapshot. For each product, what is left and what was ordered add up to
 * `UNITS_OF_A_PRODUCT`.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import {
  type Domicile,
  mirrored,
  place,
  Refusal,
  readJson,
  type Sql,
  subject,
} from '../../router/domicile.ts';

/** Few enough that a product sells out while somebody looks. */
const UNITS_OF_A_PRODUCT = 20;

const Name = z.string().regex(/^[a-z0-9-]{1,40}$/);
/** The largest number that JSON, JavaScript and PostgreSQL agree upon. */
const Value = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const Mark = z.string().min(1).max(200);

const NewUser = z.strictObject({
  id: Name,
  /** ISO 3166-1 alpha-2. Decides the home. */
  country: z.string(),
  mark: Mark,
});

const Steps = z.strictObject({
  steps: z
    .array(
      z.union([z.strictObject({ append: Name, value: Value }), z.strictObject({ read: Name })]),
    )
    .min(1)
    .max(20),
  mark: Mark,
});

const Write = z.strictObject({ value: Value, mark: Mark });

/** `expected` null: the register has never been written. */
const Swap = z.strictObject({ expected: Value.nullable(), value: Value, mark: Mark });

const NewOrder = z.strictObject({
  product: Name,
  quantity: z.int().min(1).max(1_000),
  value: Value,
  mark: Mark,
});

type List = { list: string; values: number[] };
type Ordered = { value: number; quantity: number };

export default new Hono<Domicile>()
  .post(
    '/users',
    place(async (c) => {
      const { id, country } = await readJson(c, NewUser);
      return { id, attributes: { country } };
    }),
    async (c) => {
      const { country, mark } = await readJson(c, NewUser);
      const id = c.var.subject;
      await c.var.data.write(
        (sql) => sql`insert into users (id, country, mark) values (${id}, ${country}, ${mark})`,
      );
      return c.json({ id }, 201);
    },
  )

  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  /** `?of=a&of=b`: both as they were at one moment. */
  .get('/users/:user/lists', async (c) => {
    const names = namesOf(c.req.queries('of') ?? []);
    const lists = await c.var.data.read(
      (sql) => sql<List[]>`
        select list, json_agg(value order by position) as values from list_items
        where user_id = ${c.var.subject} and list = any(${sql.array(names)}) group by list`,
    );
    return c.json({ lists: Object.fromEntries(lists.map(({ list, values }) => [list, values])) });
  })

  /** All steps in one transaction; a step that reads sees the appends of the steps before it. */
  .post('/users/:user/lists', async (c) => {
    const { steps, mark } = await readJson(c, Steps);
    const shown = await c.var.data.write(async (sql) => {
      await sql`select 1 from users where id = ${c.var.subject} for no key update`;
      const found: (number[] | null)[] = [];
      for (const step of steps) {
        if ('read' in step) {
          found.push(await listNamed(sql, c.var.subject, step.read));
          continue;
        }
        await sql`
          insert into list_items (user_id, list, position, value, mark)
          select ${c.var.subject}, ${step.append}, coalesce(max(position), 0) + 1, ${step.value}, ${mark}
          from list_items where user_id = ${c.var.subject} and list = ${step.append}`;
        found.push(null);
      }
      return found;
    });
    return c.json({ lists: shown });
  })

  .get('/users/:user/registers/:register', async (c) => {
    const register = name(c.req.param('register'));
    const [found] = await c.var.data.read(
      (sql) => sql<{ value: number }[]>`
        select value::float8 as value from registers
        where user_id = ${c.var.subject} and register = ${register}`,
    );
    return c.json({ value: found?.value ?? null });
  })

  .put('/users/:user/registers/:register', async (c) => {
    const register = name(c.req.param('register'));
    const { value, mark } = await readJson(c, Write);
    await c.var.data.write(
      (sql) => sql`
        insert into registers (user_id, register, value, mark)
        values (${c.var.subject}, ${register}, ${value}, ${mark})
        on conflict (user_id, register) do update set value = excluded.value`,
    );
    return c.json({});
  })

  .post('/users/:user/registers/:register/swap', async (c) => {
    const register = name(c.req.param('register'));
    const swap = await readJson(c, Swap);
    return c.json(
      await c.var.data.write((sql) => swapRegister(sql, c.var.subject, register, swap)),
    );
  })

  /** The product and all orders for it, as they were at one moment. */
  .get('/users/:user/stock/:product', async (c) => {
    const product = name(c.req.param('product'));
    const [found] = await c.var.data.read(
      (sql) => sql<{ left: number; ordered: Ordered[] }[]>`
        select
          coalesce((select units_left from stock where user_id = ${c.var.subject}
            and product = ${product}), ${UNITS_OF_A_PRODUCT}::integer) as left,
          coalesce((select json_agg(json_build_object('value', value, 'quantity', quantity) order by id)
            from orders where user_id = ${c.var.subject} and product = ${product}), '[]') as ordered`,
    );
    return c.json(found);
  })

  .post('/users/:user/orders', async (c) => {
    const order = await readJson(c, NewOrder);
    return c.json(await c.var.data.write((sql) => takeFromStock(sql, c.var.subject, order)));
  })

  .get('/users/:user/notice', mirrored('public_notices'), async (c) => {
    const [found] = await c.var.data.read(
      (sql) => sql<{ value: number }[]>`
        select value::float8 as value from public_notices where user_id = ${c.var.subject}`,
    );
    return c.json({ value: found?.value ?? null });
  })

  .put('/users/:user/notice', async (c) => {
    const { value, mark } = await readJson(c, Write);
    await c.var.data.write(
      (sql) => sql`
        insert into notices (user_id, value, mark) values (${c.var.subject}, ${value}, ${mark})
        on conflict (user_id) do update set value = excluded.value`,
    );
    return c.json({});
  })

  /** All that the user has, as it was at one moment. */
  .get('/users/:user/everything', async (c) => {
    const user = c.var.subject;
    const [found] = await c.var.data.read(
      (sql) => sql`
        select
          coalesce((select json_object_agg(list, values) from (
            select list, json_agg(value order by position) as values from list_items
            where user_id = ${user} group by list) l), '{}') as lists,
          coalesce((select json_object_agg(register, value) from registers
            where user_id = ${user}), '{}') as registers,
          coalesce((select json_object_agg(product, units_left) from stock
            where user_id = ${user}), '{}') as "unitsLeft",
          coalesce((select json_agg(json_build_object('product', product, 'value', value,
            'quantity', quantity) order by id) from orders where user_id = ${user}), '[]') as orders,
          (select value::float8 from notices where user_id = ${user}) as notice`,
    );
    return c.json(found);
  });

async function listNamed(sql: Sql, user: string, list: string): Promise<number[]> {
  const rows = await sql<{ value: number }[]>`
    select value::float8 as value from list_items
    where user_id = ${user} and list = ${list} order by position`;
  return rows.map(({ value }) => value);
}

async function swapRegister(
  sql: Sql,
  user: string,
  register: string,
  { expected, value, mark }: z.infer<typeof Swap>,
): Promise<{ swapped: boolean; found: number | null }> {
  if (expected === null) {
    const begun = await sql`
      insert into registers (user_id, register, value, mark)
      values (${user}, ${register}, ${value}, ${mark})
      on conflict (user_id, register) do nothing returning 1`;
    if (begun.length > 0) return { swapped: true, found: null };
  }
  // Locked, so that it is still this one when it is replaced.
  const [present] = await sql<{ value: number }[]>`
    select value::float8 as value from registers
    where user_id = ${user} and register = ${register} for update`;
  if (present === undefined || present.value !== expected) {
    return { swapped: false, found: present?.value ?? null };
  }
  await sql`
    update registers set value = ${value} where user_id = ${user} and register = ${register}`;
  return { swapped: true, found: present.value };
}

async function takeFromStock(
  sql: Sql,
  user: string,
  { product, quantity, value, mark }: z.infer<typeof NewOrder>,
): Promise<{ ordered: boolean; left: number }> {
  await sql`
    insert into stock (user_id, product, units_left)
    values (${user}, ${product}, ${UNITS_OF_A_PRODUCT}) on conflict (user_id, product) do nothing`;
  const [stock] = await sql<{ left: number }[]>`
    select units_left as left from stock
    where user_id = ${user} and product = ${product} for update`;
  if (stock === undefined) throw new Error('stock that is gone again');
  if (stock.left < quantity) return { ordered: false, left: stock.left };
  await sql`
    update stock set units_left = units_left - ${quantity}
    where user_id = ${user} and product = ${product}`;
  await sql`
    insert into orders (user_id, product, quantity, value, mark)
    values (${user}, ${product}, ${quantity}, ${value}, ${mark})`;
  return { ordered: true, left: stock.left - quantity };
}

function name(text: string): string {
  const [one = ''] = namesOf([text]);
  return one;
}

function namesOf(texts: readonly string[]): string[] {
  const parsed = z.array(Name).min(1).max(20).safeParse(texts);
  if (parsed.success) return parsed.data;
  const message = 'is not one to twenty names of small letters, digits and hyphens';
  throw new Refusal({ kind: 'invalid-request', complaints: [{ path: 'name', message }] });
}
