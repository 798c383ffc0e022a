/**
 * The storefront, with a handler that fails as handlers do, and a look at what an edge remembers.
 */
import { Hono } from 'hono';
import storefront from '../../examples/storefront/app.ts';
import type { Domicile } from '../domicile.ts';

export default new Hono<Domicile>()
  .get('/memory', async (c) => {
    const { telemetry } = c.env.edge;
    return c.json({
      traces: telemetry?.recentTraces() ?? [],
      refusals: telemetry?.lastRefusals() ?? [],
      metrics: (await telemetry?.metricsSnapshot()) ?? [],
    });
  })
  .get('/fails/:who', (c) => {
    throw new Error(`nothing is known of ${c.req.param('who')}`);
  })
  .route('/', storefront);
