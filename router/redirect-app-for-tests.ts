/**
 * An app with a table that no body may reach through another region: `messages`, beside the
 * storefront's `users`. It also has the mistakes that such a table invites.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import {
  type Domicile,
  mirrored,
  place,
  readJson,
  reads,
  reference,
  subject,
  touches,
} from './domicile.ts';

const Placed = z.object({ id: z.string(), country: z.string() });
const Message = z.object({ text: z.string() });

export default new Hono<Domicile>()
  /** Bodies of users may pass, so they may also say where the user belongs. */
  .post(
    '/users',
    touches('users'),
    place(async (c) => {
      const { id, country } = await readJson(c, Placed);
      return { id, attributes: { country } };
    }),
    async (c) => {
      const { id, country } = await readJson(c, Placed);
      await c.var.data.write(
        (sql) => sql`
          insert into users (id, display_name, email, country)
          values (${id}, ${id}, 'a@mail.example', ${country})`,
      );
      return c.json({ id }, 201);
    },
  )

  /** Placed by header fields alone, which a gateway has checked. */
  .post(
    '/mailboxes',
    touches('users', 'messages'),
    place((c) => ({
      id: c.req.header('x-user'),
      attributes: { country: c.req.header('x-country') ?? '' },
    })),
    async (c) => {
      const { text } = await readJson(c, Message);
      const id = c.var.subject;
      await c.var.data.write(async (sql) => {
        await sql`
          insert into users (id, display_name, email, country)
          values (${id}, ${id}, 'a@mail.example', ${c.req.header('x-country') ?? ''})`;
        await sql`insert into messages (user_id, body) values (${id}, ${text})`;
      });
      return c.json({ id }, 201);
    },
  )

  /** A mistake: the body decides the home, and names no table. */
  .post(
    '/hasty',
    place(async (c) => {
      const { id, country } = await readJson(c, Placed);
      return { id, attributes: { country } };
    }),
    (c) => c.json({}, 201),
  )

  /** The same mistake, hushed up. */
  .post(
    '/hushed',
    place(async (c) => {
      await c.req.text().catch(() => '');
      return { id: c.req.header('x-user'), attributes: { country: 'DE' } };
    }),
    (c) => c.json({}, 201),
  )

  /** Reads before anybody has asked whose data it is. */
  .use('/users/:user/peeked', async (c, next) => {
    await c.req.text();
    return next();
  })

  /** A search by POST, say: it reads whatever its method is. */
  .use('/users/:user/dates', reads())

  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  .post('/users/:user/peeked', touches('messages'), (c) => c.json({}))

  .get('/users/:user/messages', touches('messages'), async (c) =>
    c.json(
      await c.var.data.read(
        (sql) => sql`select body from messages where user_id = ${c.var.subject} order by id`,
      ),
    ),
  )

  .post('/users/:user/messages', touches('messages'), async (c) => {
    const { text } = await readJson(c, Message);
    await c.var.data.write(
      (sql) => sql`insert into messages (user_id, body) values (${c.var.subject}, ${text})`,
    );
    return c.json({ stored: text.length }, 201);
  })

  .put('/users/:user/name', touches('users'), async (c) => {
    const { text } = await readJson(c, Message);
    await c.var.data.write(
      (sql) => sql`update users set display_name = ${text} where id = ${c.var.subject}`,
    );
    return c.json({ stored: text.length });
  })

  /** A mistake: it says users and reads messages. */
  .get('/users/:user/mislabelled', touches('users'), async (c) =>
    c.json(
      await c.var.data.read(
        (sql) => sql`select body from messages where user_id = ${c.var.subject}`,
      ),
    ),
  )

  /** Names no table. */
  .post('/users/:user/unnamed', async (c) => c.json({ read: (await c.req.text()).length }))
  .get('/users/:user/unnamed', (c) => c.json({}))

  .get('/users/:user/stranger', touches('massages'), (c) => c.json({}))

  /** What the policy mirrors of messages: when they came, not what they say. */
  .on(['GET', 'POST'], '/users/:user/dates', mirrored('message_dates'), async (c) => {
    const asked = c.req.method === 'POST' ? await c.req.text() : '';
    const dates = await c.var.data.read(
      (sql) => sql`select sent_at from message_dates where user_id = ${c.var.subject}`,
    );
    return c.json({ asked: asked.length, dates: dates.length });
  })

  .post('/products', reference('products'), async (c) =>
    c.json({ read: (await c.req.text()).length }),
  )

  /** Nobody's data: any edge may answer, and read what was sent. */
  .post('/echo', async (c) => c.json({ read: (await c.req.text()).length }));
