/**
 * Who can read `/metrics`, and where?
 *
 * Whoever reaches an address that the operator has named for it. It is no address of clients: what
 * the numbers say of load and failures is not for strangers.
 */
import { createServer, type Server } from 'node:http';
import type { Telemetry } from './telemetry.ts';

/** The text format of Prometheus, version 0.0.4. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** A scrape is one short request; whoever sends it slower is none. */
const REQUEST_MS_MAX = 5_000;

/** Resolves once the port is bound. Rejects when it cannot be. */
export function serveMetrics(
  telemetry: Pick<Telemetry, 'prometheusText'>,
  { host, port }: { host: string; port: number },
): Promise<Server> {
  const server = createServer((request, response) => {
    const isMetrics = request.url?.split('?')[0] === '/metrics';
    if (!isMetrics || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(isMetrics ? 405 : 404).end();
      return;
    }
    telemetry.prometheusText().then(
      (text) => {
        response.writeHead(200, { 'content-type': CONTENT_TYPE });
        response.end(request.method === 'HEAD' ? undefined : text);
      },
      () => response.writeHead(500).end(),
    );
  });
  server.requestTimeout = REQUEST_MS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}
