/**
 * An app whose handlers do what handlers must not, over the storefront's tables and policy.
 */
import { Hono } from 'hono';
import { type Domicile, mirrored, reference, subject, writes } from './domicile.ts';

export default new Hono<Domicile>()
  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  .get('/users/:user/writes-in-get', async (c) => {
    await c.var.data.write((sql) => sql`update users set display_name = 'written in GET'`);
    return c.json({});
  })

  .get('/users/:user/writes-in-read', async (c) => {
    await c.var.data.read((sql) => sql`update users set display_name = 'written in read'`);
    return c.json({});
  })

  /** Talks the connection out of being read-only, and meets its role. */
  .get('/users/:user/insists', async (c) => {
    await c.var.data.read(async (sql) => {
      await sql`set default_transaction_read_only = off`;
      await sql`update users set display_name = 'insisted'`;
    });
    return c.json({});
  })

  .get('/users/:user/marked', writes(), async (c) => {
    await c.var.data.write(
      (sql) => sql`update users set display_name = 'marked' where id = ${c.var.subject}`,
    );
    return c.json({});
  })

  /** Fine at home; abroad the login may not look there. */
  .get('/users/:user/leaks', mirrored('public_profiles'), async (c) =>
    c.json(
      await c.var.data.read((sql) => sql`select email from app.users where id = ${c.var.subject}`),
    ),
  )

  .get('/users/:user/card', mirrored('public_profiles'), async (c) =>
    c.json(
      await c.var.data.read(
        (sql) => sql`select display_name from public_profiles where id = ${c.var.subject}`,
      ),
    ),
  )

  /** No `where`: row security has to know whose orders these are. */
  .get('/users/:user/all', async (c) =>
    c.json(
      await c.var.data.read((sql) => sql`select id from users union select user_id from orders`),
    ),
  )

  /** Hand-written SQL for somebody else. */
  .post('/users/:user/orders-for/:other', async (c) => {
    const other = c.req.param('other');
    await c.var.data.write(
      (sql) => sql`insert into orders (user_id, total_cents) values (${other}, 1)`,
    );
    return c.json({});
  })
  .post('/users/:user/takes/:other', async (c) => {
    const other = c.req.param('other');
    const taken = await c.var.data.write(
      (sql) =>
        sql`update orders set user_id = ${c.var.subject} where user_id = ${other} returning id`,
    );
    return c.json(taken);
  })

  /** What injected SQL would try: to be somebody else from here on. */
  .get('/users/:user/poses-as/:other', async (c) => {
    const other = c.req.param('other');
    const rows = await c.var.data.read(async (sql) => {
      await sql`select set_config('domicile.subject', ${`${'0'.repeat(32)}d${other}`}, false)`;
      return sql`select id from users`;
    });
    return c.json(rows);
  })
  .get('/users/:user/poses-as-nobody', async (c) => {
    const rows = await c.var.data.read(async (sql) => {
      await sql`select set_config('domicile.subject', '', false)`;
      return sql`select id from users`;
    });
    return c.json(rows);
  })
  .get('/users/:user/key', async (c) =>
    c.json(await c.var.data.read((sql) => sql`select * from domicile.subject_key`)),
  )
  .get('/users/:user/residents', async (c) =>
    c.json(await c.var.data.read((sql) => sql`select * from domicile.residents`)),
  )

  /** A route about nobody that looks at somebody. */
  .get('/products/with-users', reference('products'), async (c) =>
    c.json(await c.var.data.read((sql) => sql`select id from users`)),
  )

  .get('/users/:user/undeclared', mirrored('no_such_mirror'), (c) => c.json({}))

  .get('/users/:user/throws', (c) => {
    throw new Error(`cannot cope with ${c.var.subject}`);
  });
