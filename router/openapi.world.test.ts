/** An edge does what its description says, asked by somebody who has read nothing else. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { OpenApi, Operation } from './openapi.ts';
import { startTestDomicile, type TestDomicile } from './world-for-tests.ts';

let world: TestDomicile;
let api: OpenApi;

beforeAll(async () => {
  world = await startTestDomicile();
  const served = await world.call(world.url('us'), 'GET', '/.domicile/openapi.json');
  expect(served.status).toBe(200);
  api = served.json;
});
afterAll(() => world?.remove());

type Schema = { examples?: unknown[]; required?: string[]; properties?: Record<string, unknown> };
type Content = Record<string, { schema: Schema }>;

function bodyOf(operation: Operation): Schema | undefined {
  const { content } = (operation.requestBody ?? {}) as { content?: Content };
  return content?.['application/json']?.schema;
}

/** What an answer of this status must look like; undefined where the description has none. */
function answerOf(operation: Operation, status: number): z.ZodType | undefined {
  const described = (operation.responses[status] ?? {}) as { content?: Content };
  const schema = described.content?.['application/json']?.schema;
  return schema === undefined ? undefined : z.fromJSONSchema(schema as never);
}

async function send(path: string, method: string, body: unknown, ids: Record<string, string>) {
  const target = path.replaceAll(/\{(\w+)\}/g, (_, name) => ids[name] ?? '');
  return world.call(world.url('us'), method.toUpperCase(), target, {
    ...(body !== undefined && { body }),
  });
}

test('every operation, asked with its own example, gives an answer that it describes', async () => {
  const ids: Record<string, string> = { product: 'lamp-brass' };
  const asked: string[] = [];
  // Somebody has to be created before anything is theirs, and an order before it is read.
  const inOrder = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const depth = ({ path, method }: { path: string; method: string }) =>
    path.split('{').length * 10 + (method === 'post' ? 0 : 1);
  for (const { path, method, operation } of inOrder.toSorted((a, b) => depth(a) - depth(b))) {
    const body = bodyOf(operation)?.examples?.[0];
    const answer = await send(path, method, body, ids);
    const name = `${method} ${path}`;
    expect(operation.responses, `${name}: ${answer.text}`).toHaveProperty(String(answer.status));
    const parsed = answerOf(operation, answer.status)?.safeParse(answer.json);
    expect(parsed?.error, `${name}: ${answer.text}`).toBeUndefined();
    expect(parsed?.success, name).toBe(true);
    if (name === 'post /users') ids.user = answer.json.id;
    if (name === 'post /users/{user}/orders') ids.order = answer.json.id;
    asked.push(name);
  }
  expect(asked.length).toBeGreaterThan(10);
});

test('a body without what the description requires is refused as a described problem', async () => {
  const Problem = z.fromJSONSchema(
    (api.components as { schemas: { Problem: never } }).schemas.Problem,
  );
  let tried = 0;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const schema = bodyOf(operation);
      const example = schema?.examples?.[0] as Record<string, unknown> | undefined;
      for (const missing of schema?.required ?? []) {
        const { [missing]: _left, ...body } = example ?? {};
        // Whose it is does not matter: a newcomer would be the first to be asked for.
        const ids = { user: (await someUser()).id, order: crypto.randomUUID(), product: 'x' };
        const answer = await send(path, method, body, ids);
        expect(answer.status, `${method} ${path} without ${missing}: ${answer.text}`).toBe(422);
        expect(answer.headers['content-type']).toContain('application/problem+json');
        expect(Problem.safeParse(answer.json).success).toBe(true);
        expect(answer.text).toContain(missing);
        tried++;
      }
    }
  }
  expect(tried).toBeGreaterThan(5);
});

let user: { id: string } | undefined;
async function someUser(): Promise<{ id: string }> {
  const example = bodyOf(api.paths['/users']?.post as Operation)?.examples?.[0];
  user ??= (await world.call(world.url('us'), 'POST', '/users', { body: example })).json;
  return user as { id: string };
}
