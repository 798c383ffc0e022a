/** The smallest app with people and something of theirs, on any PostgreSQL that Domicile can use. */
import { Hono } from 'hono';
import { z } from 'zod';
import { type Domicile, place, readJson, subject } from '../domicile.ts';

export const NOTES_SCHEMA = `
create table users (id text primary key, name text not null);
create table notes (id text primary key, user_id text not null references users);
`;

export const NOTES_POLICY = `version: 1
because: One region, for a test.
effective: 2026-11-01
jurisdictions:
  everywhere:
    title: Everywhere
    countries: others
    regions: [eu]
placement:
  - rule: all
    when: { jurisdiction: everywhere }
    home: eu
    because: There is one region.
tables:
  users: { subject: id, transit: proxy }
  notes: { subject: user_id, transit: proxy }
failover: { scope: region }
idempotency: { retention: 24h }
`;

const NewUser = z.strictObject({ id: z.string(), name: z.string(), country: z.string() });

export default new Hono<Domicile>()
  .post(
    '/users',
    place(async (c) => {
      const { id, country } = await readJson(c, NewUser);
      return { id, attributes: { country } };
    }),
    async (c) => {
      const { name } = await readJson(c, NewUser);
      const id = c.var.subject;
      await c.var.data.write((sql) => sql`insert into users (id, name) values (${id}, ${name})`);
      return c.json({ id }, 201);
    },
  )

  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  .post('/users/:user/notes/:note', async (c) => {
    const note = c.req.param('note');
    await c.var.data.write(
      (sql) => sql`insert into notes (id, user_id) values (${note}, ${c.var.subject})`,
    );
    return c.json({ note }, 201);
  })

  .get('/users/:user/notes', async (c) => {
    const rows = await c.var.data.read(
      (sql) => sql<{ id: string }[]>`select id from notes where user_id = ${c.var.subject}`,
    );
    return c.json(rows.map(({ id }) => id));
  });
