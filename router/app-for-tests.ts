/**
 * An app whose handlers do what handlers must not, over the storefront's tables and policy.
 */
import { Hono } from 'hono';
import { type Domicile, mirrored, subject, writes } from './domicile.ts';

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

  .get('/users/:user/undeclared', mirrored('no_such_mirror'), (c) => c.json({}))

  .get('/users/:user/throws', (c) => {
    throw new Error(`cannot cope with ${c.var.subject}`);
  });
