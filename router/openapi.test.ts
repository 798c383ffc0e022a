import { readFileSync } from 'node:fs';
import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import storefront from '../examples/storefront/app.ts';
import { describes, listedRoutes, reads, subject, touchedBy } from './domicile.ts';
import { covers, type OpenApi, type Operation, openApiOf } from './openapi.ts';
import { VERSION } from './version.ts';

function describedApp(app: Parameters<typeof listedRoutes>[0]): OpenApi {
  const about = { title: 'A test', version: '1', servers: [] };
  return openApiOf(about, listedRoutes(app), touchedBy);
}

describe('a pattern covers a path', () => {
  test.each([
    ['/users/:user/*', '/users/:user', true],
    ['/users/:user/*', '/users/:user/orders/:order', true],
    ['/users/:user/*', '/users', false],
    ['/users/:id', '/users/:user', true],
    ['/users/me', '/users/:user', false],
    ['*', '/', true],
    ['/users/:user', '/users/:user/orders', false],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(covers(pattern, path)).toBe(expected);
  });
});

describe('the storefront', () => {
  const api = describedApp(storefront);
  const operations = Object.values(api.paths).flatMap((one) => Object.values(one));

  test('has every route of the app, each with a summary and an answer', () => {
    const routes = storefront.routes.filter(({ method }) => method !== 'ALL');
    for (const { path, method } of routes) {
      const found = api.paths[path.replaceAll(/:([a-z]+)/g, '{$1}')]?.[method.toLowerCase()];
      expect(found?.summary, `${method} ${path}`).toBeDefined();
      expect(Object.keys(found?.responses ?? {}).length).toBeGreaterThan(1);
    }
    // And two of the router's own.
    expect(operations).toHaveLength(new Set(routes.map((r) => r.method + r.path)).size + 2);
  });

  test('names each operation once, and refers to nothing that is not there', () => {
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const refs = [...JSON.stringify(api).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, to = '']) => to,
    );
    expect(refs.length).toBeGreaterThan(20);
    for (const to of refs) {
      let at: unknown = api;
      for (const key of to.split('/')) at = (at as Record<string, unknown>)[key];
      expect(at, to).toBeDefined();
    }
  });

  test('declares every parameter of a path', () => {
    for (const [path, methods] of Object.entries(api.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters } of Object.values(methods)) {
        const declared = (parameters as { in?: string; name?: string }[])
          .filter((one) => one.in === 'path')
          .map((one) => one.name);
        expect(declared).toEqual(names);
      }
    }
  });

  test('offers sessions and levels on every route with a home, and keys where something changes', () => {
    const has = (operation: Operation | undefined, name: string) =>
      JSON.stringify(operation?.parameters).includes(`parameters/${name}`);
    const orders = api.paths['/users/{user}/orders'];
    expect(has(orders?.get, 'Domicile-Session')).toBe(true);
    expect(has(orders?.get, 'Idempotency-Key')).toBe(false);
    expect(has(orders?.post, 'Idempotency-Key')).toBe(true);
    expect(has(api.paths['/.domicile/health']?.get, 'Domicile-Session')).toBe(false);
  });
});

test('the version that is told is that of the package', () => {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  expect(VERSION).toBe((JSON.parse(text) as { version: string }).version);
});

test('a route that says nothing is there all the same, with what its marks say', () => {
  const app = new Hono()
    .use(
      '/people/:who/*',
      subject(() => ''),
    )
    .post('/people/:who/search', reads(), (c) => c.json({}));
  const found = describedApp(app).paths['/people/{who}/search']?.post;
  expect(found?.summary).toBeUndefined();
  expect(JSON.stringify(found?.parameters)).not.toContain('Idempotency-Key');
  expect(JSON.stringify(found?.parameters)).toContain('Domicile-Session');
});

test('what a body says of itself arrives in the description, dates as texts', () => {
  const app = new Hono().post(
    '/things',
    describes({
      summary: 'A thing.',
      body: z.strictObject({ size: z.int().min(3) }),
      answers: { 201: { says: 'Made.', body: z.strictObject({ at: z.date() }) } },
    }),
    (c) => c.json({}),
  );
  const found = describedApp(app).paths['/things']?.post;
  expect(found?.requestBody).toMatchObject({
    content: {
      'application/json': {
        schema: { additionalProperties: false, properties: { size: { minimum: 3 } } },
      },
    },
  });
  expect(JSON.stringify(found?.responses[201])).toContain('{"type":"string","format":"date-time"}');
});
