/**
 * A collector that takes OTLP over HTTP and keeps every byte, to be looked through.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type ToldSpan = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: Record<string, unknown>;
  links: number;
  edge: string;
};

export type Collector = {
  url: string;
  /** Bodies as they came, by path. */
  bodies: { path: string; bytes: Buffer }[];
  /** Of a collector that is spoken to in JSON. */
  spans(): ToldSpan[];
  metricNames(): Set<string>;
  close(): Promise<void>;
};

type Value = Record<string, unknown> & { arrayValue?: { values?: Value[] } };
type KeyValue = { key: string; value: Value };
type Span = Omit<ToldSpan, 'attributes' | 'links' | 'edge'> & {
  attributes: KeyValue[];
  links?: unknown[];
};

export async function startCollector(): Promise<Collector> {
  const bodies: Collector['bodies'] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      bodies.push({ path: request.url ?? '', bytes: Buffer.concat(parts) });
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  // biome-ignore lint/suspicious/noExplicitAny: it is what OTLP says it is.
  const read = new Map<object, any>();
  const told = (path: string) =>
    bodies
      .filter((one) => one.path === path)
      .map((one) => {
        if (!read.has(one)) read.set(one, JSON.parse(one.bytes.toString()));
        return read.get(one);
      });
  return {
    url: `http://127.0.0.1:${port}`,
    bodies,
    spans: () =>
      told('/v1/traces').flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(
          ({
            resource,
            scopeSpans,
          }: {
            resource: { attributes: KeyValue[] };
            scopeSpans: { spans: Span[] }[];
          }) =>
            scopeSpans.flatMap(({ spans }) =>
              spans.map((span) => ({
                ...span,
                links: span.links?.length ?? 0,
                attributes: valuesOf(span.attributes),
                edge: String(valuesOf(resource.attributes)['service.instance.id']),
              })),
            ),
        ),
      ),
    metricNames: () =>
      new Set(
        told('/v1/metrics').flatMap(({ resourceMetrics }) =>
          resourceMetrics.flatMap(
            ({ scopeMetrics }: { scopeMetrics: { metrics: { name: string }[] }[] }) =>
              scopeMetrics.flatMap(({ metrics }) => metrics.map(({ name }) => name)),
          ),
        ),
      ),
    async close() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}

function plain(value: Value): unknown {
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain);
  return Object.values(value)[0];
}
