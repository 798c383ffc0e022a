/** The measured handlers, as a Domicile app. `bare-server.ts` runs the same SQL without it. */
import { Hono } from 'hono';
import { type Domicile, place, subject } from '../router/domicile.ts';

export default new Hono<Domicile>()
  /** Fills the memory of the directory, as that many different subjects would. */
  .post('/directory/:entries', (c) => {
    const { directory } = c.env.edge;
    const entries = Number(c.req.param('entries'));
    const from = Number(c.req.query('from')) * entries;
    for (let n = from; n < from + entries; n++) {
      directory.learn(directory.keyOf(`subject ${n}`), ['us', 'eu', 'asia'][n % 3] ?? 'us', 1);
    }
    globalThis.gc?.();
    return c.json({ entries });
  })
  .post(
    '/users',
    place(async (c) => {
      const { id, country = 'DE' } = await c.req.json();
      return { id, attributes: { country } };
    }),
    async (c) => {
      const { country = 'DE' } = await c.req.json();
      await c.var.data.write(
        (sql) => sql`
          insert into users (id, display_name, email, country)
          values (${c.var.subject}, 'Measured', 'measured@example.org', ${country})`,
      );
      return c.json({ id: c.var.subject }, 201);
    },
  )
  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )
  .get('/users/:user', async (c) => {
    const [user] = await c.var.data.read(
      (sql) => sql`
        select id, display_name, email, country from users where id = ${c.var.subject}`,
    );
    return user === undefined ? c.notFound() : c.json(user);
  })
  .post('/users/:user', async (c) => {
    const [user] = await c.var.data.write(
      (sql) => sql`
        update users set email = email where id = ${c.var.subject}
        returning id, display_name, email, country`,
    );
    return user === undefined ? c.notFound() : c.json(user);
  })
  /** A transaction of so many milliseconds. */
  .post('/users/:user/slow/:ms', async (c) => {
    const seconds = Number(c.req.param('ms')) / 1_000;
    await c.var.data.write((sql) => sql`select pg_sleep(${seconds})`);
    return c.json({});
  });
