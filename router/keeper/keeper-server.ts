/**
 * What does a keeper answer, and to whom?
 *
 * Edges ask who the primary is, and get what is written and not what is remembered: an answer to a
 * question that was asked after something tells that nothing else had been decided by then. Status
 * and history are for people. Orders need the region's operator token.
 */
import { timingSafeEqual } from 'node:crypto';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import * as z from 'zod';
import type { Keeper } from './keeper.ts';
import type { RecordStore } from './record-store.ts';
import type { StewardOutcome } from './steward.ts';

export type KeeperServer = { close(): Promise<void> };

/** More than anybody reads; the files keep all of them. */
const HISTORY_MAX = 1_000;

const Switchover = z.strictObject({ to: z.string().optional(), by: z.string().min(1) });
const Relocation = z.strictObject({
  to: z.string().min(1),
  /** The reason, where somebody answers for a loss. */
  acceptLoss: z.string().min(1).optional(),
  by: z.string().min(1),
});
const Promotion = z.strictObject({
  node: z.string(),
  acceptLoss: z.literal(true),
  why: z.string().min(1),
  by: z.string().min(1),
});

export function keeperApp(keeper: Keeper, store: RecordStore, token: string): Hono {
  const app = new Hono();
  app.get('/primary', async (c) => {
    const record = await keeper.primary();
    if (record === undefined) return c.json({ why: 'nothing is recorded yet' }, 503);
    const { region, version, primary, timeline, standbys, commits, pending } = record;
    return c.json({ region, version, primary, timeline, standbys, commits, pending });
  });
  app.get('/status', (c) => c.json(keeper.status()));
  app.get('/history', async (c) => {
    const asked = Number(c.req.query('count') ?? 20);
    const count = Number.isInteger(asked) && asked > 0 ? Math.min(asked, HISTORY_MAX) : 20;
    return c.json(await store.history(count));
  });
  app.use('/orders/*', async (c, next) => {
    const given = Buffer.from(c.req.header('authorization') ?? '');
    const expected = Buffer.from(`Bearer ${token}`);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      return c.json({ kind: 'refused', why: 'orders need the operator token of this region' }, 403);
    }
    return next();
  });
  app.post('/orders/switchover', async (c) => {
    const order = Switchover.safeParse(await c.req.json().catch(() => undefined));
    if (!order.success) return c.json(misread(order.error), 400);
    return c.json(await keeper.switchover(order.data.to, order.data.by));
  });
  app.post('/orders/relocate-primary', async (c) => {
    const order = Relocation.safeParse(await c.req.json().catch(() => undefined));
    if (!order.success) return c.json(misread(order.error), 400);
    const { to, by, acceptLoss } = order.data;
    return c.json(await keeper.relocate({ site: to, by, acceptLoss }));
  });
  app.post('/orders/promote', async (c) => {
    const order = Promotion.safeParse(await c.req.json().catch(() => undefined));
    if (!order.success) return c.json(misread(order.error), 400);
    const { node, by, why } = order.data;
    return c.json(await keeper.acceptLoss(node, by, why));
  });
  return app;
}

/** Listens; rejects with the system's error when it cannot. */
export function serveKeeper(app: Hono, host: string, port: number): Promise<KeeperServer> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port }, () => {
      resolve({
        close: async () => {
          const closed = new Promise<void>((done) => server.close(() => done()));
          if ('closeAllConnections' in server) server.closeAllConnections();
          await closed;
        },
      });
    });
    server.once('error', reject);
  });
}

function misread(error: z.ZodError): StewardOutcome {
  return { kind: 'refused', why: z.prettifyError(error) };
}
