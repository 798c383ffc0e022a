/** The smallest app with people, and something that is theirs. */
import { Hono } from 'hono';
import { z } from 'zod';
import { type Domicile, place, readJson, subject } from '../../router/domicile.ts';

const NewUser = z.strictObject({ id: z.string().min(1).max(100), country: z.string() });
const NewNote = z.strictObject({ text: z.string().min(1).max(10_000) });

export default new Hono<Domicile>()
  .post(
    '/users',
    // Whoever signs up gets the home that the policy has for their country.
    place(async (c) => {
      const { id, country } = await readJson(c, NewUser);
      return { id, attributes: { country } };
    }),
    async (c) => {
      await c.var.data.write((sql) => sql`insert into users (id) values (${c.var.subject})`);
      return c.json({ id: c.var.subject }, 201);
    },
  )
  // Everything below runs at that home, whichever edge was asked.
  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )
  .post('/users/:user/notes', async (c) => {
    const { text } = await readJson(c, NewNote);
    await c.var.data.write(
      (sql) => sql`insert into notes (user_id, text) values (${c.var.subject}, ${text})`,
    );
    return c.json({ text }, 201);
  })
  .get('/users/:user/notes', async (c) =>
    c.json(await c.var.data.read((sql) => sql`select text from notes order by id`)),
  );
