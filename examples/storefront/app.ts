/**
 * An order system, as an app developer writes it: routes, plain SQL, and for each route whose data
 * it touches. Nothing here knows how many regions there are.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import {
  type Domicile,
  describes,
  etag,
  ifMatch,
  mirrored,
  place,
  Refusal,
  readJson,
  reference,
  type Sql,
  subject,
} from '../../router/domicile.ts';

const NewUser = z
  .strictObject({
    id: z.string().min(1).max(100).optional(),
    displayName: z.string().min(1).max(100),
    email: z.email().max(200),
    country: z.string().meta({ description: 'ISO 3166-1 alpha-2. Decides the home.' }),
    home: z.string().optional(),
  })
  .meta({ examples: [{ displayName: 'Ada', email: 'ada@example.org', country: 'DE' }] });

const NewOrder = z
  .strictObject({
    items: z
      .array(z.strictObject({ product: z.string(), quantity: z.int().min(1).max(1_000) }))
      .min(1)
      .max(100),
  })
  .meta({ examples: [{ items: [{ product: 'lamp-brass', quantity: 1 }] }] });

const Status = z.enum(['placed', 'paid', 'shipped', 'cancelled']);

const StatusChange = z
  .strictObject({
    status: Status,
    version: z.int().min(1).optional().meta({ description: 'Instead of If-Match.' }),
  })
  .meta({ examples: [{ status: 'paid', version: 1 }] });

const Product = z
  .strictObject({
    name: z.string().min(1).max(200),
    unitCents: z.int().min(0).max(100_000_000),
  })
  .meta({ examples: [{ name: 'Brass desk lamp', unitCents: 8_900 }] });

const User = z.strictObject({
  id: z.string(),
  displayName: z.string(),
  email: z.string(),
  country: z.string(),
  createdAt: z.date(),
});
const Card = User.pick({ id: true, displayName: true });

const Order = z.strictObject({
  id: z.uuid(),
  status: Status,
  version: z.int(),
  totalCents: z.int(),
  placedAt: z.date(),
});
type Order = z.infer<typeof Order>;

const Item = z.strictObject({
  line: z.int(),
  product: z.string(),
  name: z.string(),
  unitCents: z.int(),
  quantity: z.int(),
});
const OrderId = z.uuid();

const Page = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().optional(),
});

export default new Hono<Domicile>()
  .post(
    '/users',
    describes({
      summary: 'Sign up; the policy chooses the home.',
      body: NewUser,
      answers: { 201: { says: 'Stored at their home.', body: User.pick({ id: true }) } },
    }),
    place(async (c) => {
      const { id, country, home } = await readJson(c, NewUser);
      return { id, attributes: { country }, asked: home };
    }),
    async (c) => {
      const { displayName, email, country } = await readJson(c, NewUser);
      const id = c.var.subject;
      await c.var.data.write(
        (sql) => sql`
          insert into users (id, display_name, email, country)
          values (${id}, ${displayName}, ${email}, ${country.toUpperCase()})`,
      );
      return c.json({ id }, 201, { location: `/users/${encodeURIComponent(id)}` });
    },
  )

  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  .get(
    '/users/:user',
    describes({
      summary: 'A person, as they are at home.',
      answers: { 200: { says: 'The person.', body: User } },
    }),
    async (c) => {
      const [user] = await c.var.data.read(
        (sql) => sql`
        select id, display_name as "displayName", email, country, created_at as "createdAt"
        from users where id = ${c.var.subject}`,
      );
      return user === undefined ? c.notFound() : c.json(user);
    },
  )

  .get(
    '/users/:user/card',
    describes({
      summary: 'What the policy mirrors of a person, from a copy nearby.',
      answers: { 200: { says: 'The card.', body: Card } },
    }),
    mirrored('public_profiles'),
    async (c) => {
      const [card] = await c.var.data.read(
        (sql) => sql`
        select id, display_name as "displayName" from public_profiles where id = ${c.var.subject}`,
      );
      return card === undefined ? c.notFound() : c.json(card);
    },
  )

  .get(
    '/users/:user/orders',
    describes({
      summary: 'Orders, newest first, a page at a time.',
      query: Page,
      answers: {
        200: {
          says: 'A page; `next` goes into `after` for the one that follows.',
          body: z.strictObject({ orders: z.array(Order), next: z.string().nullable() }),
        },
      },
    }),
    async (c) => {
      const { limit, after } = page(c.req.query());
      const orders = await c.var.data.read((sql) => ordersAfter(sql, c.var.subject, after, limit));
      const last = orders.length < limit ? undefined : orders.at(-1);
      return c.json({
        orders: orders.map(({ placedAtExact: _exact, ...order }) => order),
        next: last === undefined ? null : cursorOf(last),
      });
    },
  )

  .post(
    '/users/:user/orders',
    describes({
      summary: 'Order, at the prices of now.',
      body: NewOrder,
      answers: { 201: { says: 'Stored, and on a second server.', body: Order } },
    }),
    async (c) => {
      const { items } = await readJson(c, NewOrder);
      const order = await c.var.data.write((sql) => placeOrder(sql, c.var.subject, items));
      return c.json(order, 201);
    },
  )

  .get(
    '/users/:user/orders/:order',
    describes({
      summary: 'One order with its items.',
      params: { order: OrderId },
      headers: { 'If-None-Match': 'The tag of what the caller has.' },
      answers: {
        200: { says: 'The order.', body: Order.extend({ items: z.array(Item) }) },
        304: { says: 'The caller has it.' },
      },
    }),
    async (c) => {
      const id = orderId(c.req.param('order'));
      const found = await c.var.data.read(async (sql) => {
        const [order] = await sql<Order[]>`
        select id, status, version, total_cents::float8 as "totalCents", placed_at as "placedAt"
        from orders where id = ${id} and user_id = ${c.var.subject}`;
        if (order === undefined) return undefined;
        const items = await sql`
        select line, product_id as product, name, unit_cents as "unitCents", quantity
        from order_items where order_id = ${id} and user_id = ${c.var.subject} order by line`;
        return { ...order, items };
      });
      if (found === undefined) return c.notFound();
      return etag(c, found.version) ?? c.json(found);
    },
  )

  /** Changes a status only if nobody changed the order since the caller read it. */
  .patch(
    '/users/:user/orders/:order',
    describes({
      summary: 'Change the status of the version that the caller has seen.',
      params: { order: OrderId },
      headers: { 'If-Match': 'The tag of what the caller has.' },
      body: StatusChange,
      answers: {
        200: { says: 'Changed.', body: Order },
        409: {
          says: 'Somebody else changed it meanwhile.',
          body: z.strictObject({ title: z.string(), version: z.int() }),
        },
      },
    }),
    async (c) => {
      const id = orderId(c.req.param('order'));
      const { status, version } = await readJson(c, StatusChange);
      const outcome = await c.var.data.write(async (sql) => {
        const [present] = await sql<{ version: number }[]>`
        select version from orders where id = ${id} and user_id = ${c.var.subject} for update`;
        if (present === undefined) return { present };
        ifMatch(c, present.version, version === undefined ? 'required' : undefined);
        if (version !== undefined && version !== present.version) return { present };
        const [changed] = await sql<Order[]>`
        update orders set status = ${status}, version = version + 1
        where id = ${id} and user_id = ${c.var.subject}
        returning id, status, version, total_cents::float8 as "totalCents", placed_at as "placedAt"`;
        return { present, changed };
      });
      const { present, changed } = outcome;
      if (present === undefined) return c.notFound();
      if (changed !== undefined) return etag(c, changed.version) ?? c.json(changed);
      return c.json({ title: 'The order was changed meanwhile', version: present.version }, 409);
    },
  )

  .use('/products/*', reference('products'))

  .get(
    '/products',
    describes({
      summary: 'What is sold, from the copy of the region.',
      answers: {
        200: {
          says: 'All of it.',
          body: z.strictObject({ products: z.array(Product.extend({ id: z.string() })) }),
        },
      },
    }),
    async (c) =>
      c.json({
        products: await c.var.data.read(
          (sql) =>
            sql`select id, name, unit_cents as "unitCents" from products order by id limit 1000`,
        ),
      }),
  )

  .put(
    '/products/:product',
    describes({
      summary: 'Set a product; written where products are owned.',
      body: Product,
      answers: { 200: { says: 'As it is now.', body: Product.extend({ id: z.string() }) } },
    }),
    async (c) => {
      const { name, unitCents } = await readJson(c, Product);
      const id = c.req.param('product');
      await c.var.data.write(
        (sql) => sql`
        insert into products (id, name, unit_cents) values (${id}, ${name}, ${unitCents})
        on conflict (id) do update set name = excluded.name, unit_cents = excluded.unit_cents`,
      );
      return c.json({ id, name, unitCents });
    },
  );

/** An order and its items, priced as the catalogue is now, in one transaction. */
async function placeOrder(
  sql: Sql,
  user: string,
  items: readonly { product: string; quantity: number }[],
): Promise<Order> {
  const ids = items.map(({ product }) => product);
  const products = await sql<{ id: string; name: string; unitCents: number }[]>`
    select id, name, unit_cents as "unitCents" from products where id = any(${sql.array(ids)})`;
  const byId = new Map(products.map((product) => [product.id, product]));
  const lines = items.map(({ product, quantity }, index) => {
    const found = byId.get(product);
    if (found === undefined) {
      throw new Refusal({
        kind: 'invalid-request',
        complaints: [{ path: `items.${index}.product`, message: 'is not in the catalogue' }],
      });
    }
    return { ...found, line: index + 1, quantity };
  });
  const totalCents = lines.reduce((sum, line) => sum + line.unitCents * line.quantity, 0);
  const [order] = await sql<Order[]>`
    insert into orders (user_id, total_cents) values (${user}, ${totalCents})
    returning id, status, version, total_cents::float8 as "totalCents", placed_at as "placedAt"`;
  if (order === undefined) throw new Error('an insert that returned no row');
  const rows = lines.map(({ id, name, unitCents, line, quantity }) => ({
    order_id: order.id,
    line,
    user_id: user,
    product_id: id,
    name,
    unit_cents: unitCents,
    quantity,
  }));
  await sql`insert into order_items ${sql(rows)}`;
  return order;
}

/** Keyset pagination: a page begins after the last row of the one before, however deep it is. */
function ordersAfter(sql: Sql, user: string, after: Cursor | undefined, limit: number) {
  const from =
    after === undefined
      ? sql``
      : sql`and (placed_at, id) < (${after.placedAt}::timestamptz, ${after.id}::uuid)`;
  return sql<(Order & { placedAtExact: string })[]>`
    select id, status, version, total_cents::float8 as "totalCents", placed_at as "placedAt",
      placed_at::text as "placedAtExact"
    from orders where user_id = ${user} ${from}
    order by placed_at desc, id desc limit ${limit}`;
}

type Cursor = { placedAt: string; id: string };
const CursorText = z.tuple([z.string().max(40), z.uuid()]);

/** Microseconds matter here, so the cursor carries PostgreSQL's text and not a Date. */
function cursorOf({ placedAtExact, id }: { placedAtExact: string; id: string }): string {
  return Buffer.from(JSON.stringify([placedAtExact, id])).toString('base64url');
}

function page(query: Record<string, string>): { limit: number; after: Cursor | undefined } {
  const parsed = Page.safeParse(query);
  if (!parsed.success) throw invalid('limit', 'is not a whole number from 1 to 100');
  const { limit, after } = parsed.data;
  return { limit, after: after === undefined ? undefined : cursor(after) };
}

function cursor(text: string): Cursor {
  try {
    const [placedAt, id] = CursorText.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
    return { placedAt, id };
  } catch {
    throw invalid('after', 'is not a cursor of this list');
  }
}

function orderId(text: string): string {
  const parsed = OrderId.safeParse(text);
  if (!parsed.success) throw invalid('order', 'is not a UUID');
  return parsed.data;
}

function invalid(path: string, message: string): Refusal {
  return new Refusal({ kind: 'invalid-request', complaints: [{ path, message }] });
}
