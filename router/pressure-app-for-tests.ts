/** An app whose handlers take as long as they are asked to, over the storefront's tables and policy. */
import { Hono } from 'hono';
import { type Domicile, subject } from './domicile.ts';

export default new Hono<Domicile>()
  .use(
    '/users/:user/*',
    subject((c) => c.req.param('user') ?? ''),
  )

  /** A transaction of so many milliseconds. */
  .post('/users/:user/query/:ms', async (c) => {
    const seconds = Number(c.req.param('ms')) / 1_000;
    await c.var.data.write((sql) => sql`select pg_sleep(${seconds})`);
    return c.json({});
  })

  /** As long without any query. */
  .get('/users/:user/wait/:ms', async (c) => {
    await new Promise((done) => setTimeout(done, Number(c.req.param('ms'))));
    return c.json({});
  })

  /** As long without letting the process do anything else. */
  .get('/users/:user/computes/:ms', (c) => {
    const untilMs = performance.now() + Number(c.req.param('ms'));
    while (performance.now() < untilMs);
    return c.json({});
  })

  .post('/users/:user/echo', async (c) => c.json(await c.req.json()));
