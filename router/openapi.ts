/**
 * What can be asked of an edge, as OpenAPI 3.1?
 *
 * From the app's routes, what they say of themselves (`describes`) and whose data they touch. Header
 * fields and refusals that Domicile adds are written once and referred to. JSON Schema of 2020-12 is
 * the dialect of OpenAPI 3.1, so zod's own output stands as it is.
 */
import { z } from 'zod';
import { type Described, describedBy } from './describes.ts';

/** A route as Hono lists it; middleware has the method `ALL`. */
export type ListedRoute = { method: string; path: string; handler: object };

/** What a route's marks say of it. */
export type Touched = {
  /** Whether Domicile decides where the route runs. */
  homed: boolean;
  /** Whether an idempotency key has a meaning. */
  once: boolean;
};

export type OpenApi = {
  openapi: '3.1.1';
  info: { title: string; version: string; description: string };
  servers: readonly { url: string; description: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: object;
};

export type Operation = {
  operationId: string;
  summary?: string;
  parameters: readonly object[];
  requestBody?: object;
  responses: Record<string, object>;
};

const Problem = z
  .looseObject({
    type: z.string().meta({ description: 'The address of a heading in docs/problems.md.' }),
    status: z.int(),
    title: z.string(),
    detail: z.string().optional(),
    retry: z.enum(['safe', 'after-change', 'same-key-only']).meta({
      description: 'Whether, and how, the same request may be sent again.',
    }),
  })
  .meta({ description: 'RFC 9457 problem details.' });

/** All but the status is for who may know it. */
const Health = z.looseObject({
  status: z.literal('ok'),
  region: z.string().optional(),
  policyVersion: z.int().optional(),
  nodes: z
    .array(
      z.looseObject({
        node: z.string(),
        role: z.enum(['primary', 'replica']),
        timeline: z.int(),
        lsn: z.string(),
        seenMsAgo: z.int(),
      }),
    )
    .optional(),
  durability: z.enum(['replicated', 'alone', 'asynchronous']).nullable().optional(),
});

const FIELDS: Readonly<Record<string, string>> = {
  'Domicile-Session': 'Session tokens, separated by commas; see docs/guarantees.md, Sessions.',
  'Domicile-Consistency': '`session`, `strong`, `bounded; max-staleness=2s` or `eventual`.',
};
const KEY_FIELD = 'Idempotency-Key';
const ANSWERED: Readonly<Record<string, string>> = {
  'Domicile-Served-By': 'Which node, of which region, answered.',
  'Domicile-Decision': 'What was decided on the way, and why.',
  'Domicile-Policy': 'The version of the policy that the request was decided under.',
  'Domicile-Home': 'Where the data is at home.',
  'Domicile-Consistency': 'The level that was kept.',
  'Domicile-Staleness-Ms': 'How old the answer may be, in milliseconds.',
  'Domicile-Session': 'The session from now on.',
};

/**
 * @param routes of the app, in the order in which they were added
 * @param touched what the marks of a route's handlers say
 */
export function openApiOf(
  { title, version, servers }: { title: string; version: string; servers: OpenApi['servers'] },
  routes: readonly ListedRoute[],
  touched: (handlers: readonly object[], method: string) => Touched,
): OpenApi {
  const paths: OpenApi['paths'] = {};
  for (const { path, method, handlers } of operations(routes)) {
    const described = handlers.map(describedBy).findLast((one) => one !== undefined);
    const key = path.replaceAll(/:([A-Za-z0-9_]+)(\{[^}]*\})?\??/g, '{$1}');
    paths[key] ??= {};
    paths[key][method.toLowerCase()] = operation(
      path,
      method,
      described,
      touched(handlers, method),
    );
  }
  paths['/.domicile/health'] = {
    get: own('That this edge serves; how it and its region are, where that is open.', Health),
  };
  paths['/.domicile/openapi.json'] = { get: own('This description.', z.looseObject({})) };
  return {
    openapi: '3.1.1',
    info: {
      title,
      version,
      description:
        'Each person’s data is at home in one region; any edge takes any request. What an edge refuses, it refuses with a problem.',
    },
    servers,
    paths,
    components: {
      schemas: { Problem: schemaOf(Problem, 'output') },
      parameters: Object.fromEntries([
        ...Object.entries(FIELDS).map(([name, says]) => [name, field(name, says)]),
        [KEY_FIELD, field(KEY_FIELD, 'Done once under this key, however often it is sent.')],
      ]),
      headers: Object.fromEntries(
        Object.entries(ANSWERED).map(([name, says]) => [
          name,
          { description: says, schema: { type: 'string' } },
        ]),
      ),
      responses: {
        Problem: {
          description: 'Refused, with the reason and whether a retry is safe.',
          content: { 'application/problem+json': { schema: ref('schemas', 'Problem') } },
        },
      },
    },
  };
}

type Found = { path: string; method: string; handlers: object[] };

/** Each path and method that answers, with everything that runs for it. */
function operations(routes: readonly ListedRoute[]): Found[] {
  const found = new Map<string, Found>();
  for (const { method, path } of routes) {
    if (method === 'ALL') continue;
    const handlers = routes
      .filter((other) => other.method === 'ALL' || other.method === method)
      .filter((other) => covers(other.path, path))
      .map(({ handler }) => handler);
    found.set(`${method} ${path}`, { path, method, handlers });
  }
  return [...found.values()];
}

/** Whether every request for `path` is one for `pattern`, too; a last `*` stands for any rest. */
export function covers(pattern: string, path: string): boolean {
  const [wanted, given] = [segments(pattern), segments(path)];
  const isOpen = wanted.at(-1) === '*';
  const fixed = isOpen ? wanted.slice(0, -1) : wanted;
  if (isOpen ? given.length < fixed.length : given.length !== fixed.length) return false;
  return fixed.every((one, index) => one === given[index] || one.startsWith(':') || one === '*');
}

function segments(path: string): string[] {
  return path.split('/').filter((one) => one !== '');
}

function operation(
  path: string,
  method: string,
  described: Described | undefined,
  { homed, once }: Touched,
): Operation {
  const names = [...path.matchAll(/:([A-Za-z0-9_]+)/g)].map(([, name = '']) => name);
  const query = described?.query;
  const required = new Set((query && schemaOf(query, 'input').required) ?? []);
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+/g, '-').replace(/-$/, '')}`,
    ...(described !== undefined && { summary: described.summary }),
    parameters: [
      ...names.map((name) => {
        const said = described?.params?.[name];
        const schema = said === undefined ? { type: 'string' } : schemaOf(said, 'input');
        return { name, in: 'path', required: true, schema };
      }),
      ...Object.entries(query?.shape ?? {}).map(([name, said]) => ({
        name,
        in: 'query',
        required: required.has(name),
        schema: schemaOf(said as z.ZodType, 'input'),
      })),
      ...Object.entries(described?.headers ?? {}).map(([name, says]) => field(name, says)),
      ...(homed ? Object.keys(FIELDS).map((name) => ref('parameters', name)) : []),
      ...(homed && once ? [ref('parameters', KEY_FIELD)] : []),
    ],
    ...(described?.body !== undefined && {
      requestBody: { required: true, content: json(described.body, 'input') },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(described?.answers ?? {}).map(([status, { says, body }]) => [
          status,
          {
            description: says,
            ...(homed && { headers: headers() }),
            ...(body !== undefined && { content: json(body, 'output') }),
          },
        ]),
      ),
      default: ref('responses', 'Problem'),
    },
  };
}

function own(summary: string, body: z.ZodType): Operation {
  return {
    operationId: summary
      .replaceAll(/[^A-Za-z]+/g, '-')
      .replace(/-$/, '')
      .toLowerCase(),
    summary,
    parameters: [],
    responses: {
      200: { description: summary, content: json(body, 'output') },
      default: ref('responses', 'Problem'),
    },
  };
}

function json(schema: z.ZodType, io: 'input' | 'output') {
  return { 'application/json': { schema: schemaOf(schema, io) } };
}

type JsonSchema = { required?: string[]; [keyword: string]: unknown };

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  // A Date leaves as text, by JSON.stringify.
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type !== 'date') return;
      jsonSchema.type = 'string';
      jsonSchema.format = 'date-time';
    },
  });
  return rest as JsonSchema;
}

function headers(): object {
  return Object.fromEntries(Object.keys(ANSWERED).map((name) => [name, ref('headers', name)]));
}

function field(name: string, says: string): object {
  return { name, in: 'header', required: false, description: says, schema: { type: 'string' } };
}

function ref(kind: string, name: string): object {
  return { $ref: `#/components/${kind}/${name}` };
}
