/**
 * What Domicile is compared with: Hono and the `postgres` package, nothing else.
 *
 *     node bench/bare-server.ts <port> <replica port> <primary port> <database> <user>
 *
 * The user is a superuser, whom row security does not stop: without Domicile nobody would have it.
 * The password comes in PGPASSWORD. `/naive/...` asks the replica for its position before each
 * read and compares it with a floor, the way hand-written middleware does.
 */
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import postgres from 'postgres';

const [port, replicaPort, primaryPort, database, user] = process.argv.slice(2);
const password = process.env.PGPASSWORD ?? '';
const connect = (to: string | undefined) =>
  postgres({
    host: '127.0.0.1',
    port: Number(to),
    database: database ?? '',
    user: user ?? '',
    password,
    max: 16,
    fetch_types: false,
  });
const replica = connect(replicaPort);
const primary = connect(primaryPort);
const floor = 1n;

const app = new Hono()
  .get('/users/:user', async (c) => {
    const [user] = await replica`
      select id, display_name, email, country from app.users where id = ${c.req.param('user')}`;
    return user === undefined ? c.notFound() : c.json(user);
  })
  .get('/naive/users/:user', async (c) => {
    const [at] = await replica`select pg_last_wal_replay_lsn()::text as lsn`;
    if (lsnOf(at?.lsn) < floor) return c.text('behind', 503);
    const [user] = await replica`
      select id, display_name, email, country from app.users where id = ${c.req.param('user')}`;
    return user === undefined ? c.notFound() : c.json(user);
  })
  .post('/users/:user', async (c) => {
    const user = await primary.begin(async (sql) => {
      const [updated] = await sql`
        update app.users set email = email where id = ${c.req.param('user')}
        returning id, display_name, email, country`;
      return updated;
    });
    return user === undefined ? c.notFound() : c.json(user);
  });

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(port) }, () =>
  process.send?.('ready'),
);
process.on('disconnect', () => process.exit(0));

function lsnOf(text: string): bigint {
  const [high = '0', low = '0'] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
