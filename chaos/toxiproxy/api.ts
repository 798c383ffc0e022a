/**
 * What does the API answer?
 *
 * Method, path and body in; status and body out. The wire is left to `server.ts`. Paths, orders of
 * checks and words are those of Toxiproxy 2.12, oddities included: clients depend on them.
 */
import { parseBody, readFields, wrongType } from './body.ts';
import type { Populated, Proxies } from './proxies.ts';
import type { ProxyFields, TcpProxy } from './proxy.ts';
import { Refusal } from './refusal.ts';
import type { Toxic } from './seat.ts';
import { TOXIC_KINDS } from './toxics/kinds.ts';

export const VERSION = '2.12.0';

export type Answer = { status: number; type?: string; body?: string };
type Handler = (proxies: Proxies, names: readonly string[], body: string) => Promise<Answer>;

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';

const PROXY_FIELDS = {
  name: 'string',
  listen: 'string',
  upstream: 'string',
  enabled: 'boolean',
} as const;

const TOXIC_FIELDS = {
  name: 'string',
  type: 'string',
  stream: 'string',
  toxicity: 'number',
  attributes: 'object',
} as const;

/** Every path there is. A name in braces matches one segment. */
const ROUTES: readonly (readonly [path: string, methods: Readonly<Record<string, Handler>>])[] = [
  ['version', { GET: version }],
  ['reset', { POST: reset }],
  ['populate', { POST: populate }],
  ['proxies', { GET: listProxies, POST: createProxy }],
  ['proxies/{proxy}', { GET: showProxy, POST: updateProxy, PATCH: updateProxy, DELETE: dropProxy }],
  ['proxies/{proxy}/toxics', { GET: listToxics, POST: createToxic }],
  [
    'proxies/{proxy}/toxics/{toxic}',
    { GET: showToxic, POST: updateToxic, PATCH: updateToxic, DELETE: dropToxic },
  ],
];

export type Match =
  | { kind: 'found'; answer(proxies: Proxies, body: string): Promise<Answer> }
  | { kind: 'no_such_path' }
  | { kind: 'no_such_method' };

export function route(method: string, path: string): Match {
  const segments = path.split('/').slice(1);
  for (const [pattern, methods] of ROUTES) {
    const names = matchPath(pattern.split('/'), segments);
    if (names === undefined) continue;
    const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (handler === undefined) return { kind: 'no_such_method' };
    return { kind: 'found', answer: (proxies, body) => handler(proxies, names, body) };
  }
  return { kind: 'no_such_path' };
}

function matchPath(pattern: readonly string[], segments: readonly string[]): string[] | undefined {
  if (pattern.length !== segments.length) return undefined;
  const names: string[] = [];
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index];
    if (segment === undefined || segment === '') return undefined;
    if (part.startsWith('{')) names.push(segment);
    else if (part !== segment) return undefined;
  }
  return names;
}

async function version(): Promise<Answer> {
  const body = `{"version": "${VERSION}"}\n`;
  return { status: 200, type: 'application/json;charset=utf-8', body };
}

async function reset(proxies: Proxies): Promise<Answer> {
  const refusal = await proxies.reset();
  return refusal === undefined ? { status: 204 } : refused(refusal);
}

async function listProxies(proxies: Proxies): Promise<Answer> {
  const byName = proxies.list().toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return json(200, Object.fromEntries(byName.map((proxy) => [proxy.name, showOf(proxy)])));
}

async function createProxy(proxies: Proxies, _names: unknown, body: string): Promise<Answer> {
  const fields = proxyFields(parseBody(body));
  if (fields instanceof Refusal) return refused(fields);
  const proxy = await proxies.create(fields);
  return proxy instanceof Refusal ? refused(proxy) : json(201, showOf(proxy));
}

async function populate(proxies: Proxies, _names: unknown, body: string): Promise<Answer> {
  const { done, refusal } = await populateFrom(proxies, body);
  const listed = done.length === 0 ? null : done.map(showOf);
  if (refusal === undefined) return json(201, { proxies: listed });
  const { error, status } = refusal;
  return json(status, { error, status, proxies: listed });
}

/** Creates proxies from JSON: the body of a request, or a configuration file. */
export async function populateFrom(proxies: Proxies, text: string): Promise<Populated> {
  const list = parseBody(text);
  if (list instanceof Refusal) return { done: [], refusal: list };
  if (list !== null && !Array.isArray(list)) {
    return { done: [], refusal: wrongType(list, 'the body', 'array') };
  }
  const wanted: ProxyFields[] = [];
  for (const item of list ?? []) {
    const fields = proxyFields(item);
    if (fields instanceof Refusal) return { done: [], refusal: fields };
    wanted.push(fields);
  }
  return await proxies.populate(wanted);
}

async function showProxy(proxies: Proxies, [name = '']: readonly string[]): Promise<Answer> {
  const proxy = proxies.get(name);
  return proxy instanceof Refusal ? refused(proxy) : json(200, showOf(proxy));
}

async function updateProxy(
  proxies: Proxies,
  [name = '']: readonly string[],
  body: string,
): Promise<Answer> {
  const known = proxies.get(name);
  if (known instanceof Refusal) return refused(known);
  const parsed = parseBody(body);
  const change = parsed instanceof Refusal ? parsed : readFields(parsed, PROXY_FIELDS);
  if (change instanceof Refusal) return refused(change);
  const proxy = await proxies.update(name, change);
  return proxy instanceof Refusal ? refused(proxy) : json(200, showOf(proxy));
}

async function dropProxy(proxies: Proxies, [name = '']: readonly string[]): Promise<Answer> {
  const refusal = await proxies.remove(name);
  return refusal === undefined ? { status: 204 } : refused(refusal);
}

async function listToxics(proxies: Proxies, [name = '']: readonly string[]): Promise<Answer> {
  const proxy = proxies.get(name);
  return proxy instanceof Refusal ? refused(proxy) : json(200, [...proxy.allToxics()].map(toxicOf));
}

async function createToxic(
  proxies: Proxies,
  [name = '']: readonly string[],
  body: string,
): Promise<Answer> {
  const proxy = proxies.get(name);
  if (proxy instanceof Refusal) return refused(proxy);
  const toxic = newToxic(proxy, parseBody(body));
  if (toxic instanceof Refusal) return refused(toxic);
  proxy.addToxic(toxic);
  return json(200, toxicOf(toxic));
}

async function showToxic(proxies: Proxies, names: readonly string[]): Promise<Answer> {
  const found = findToxic(proxies, names);
  return found instanceof Refusal ? refused(found) : json(200, toxicOf(found.toxic));
}

async function updateToxic(
  proxies: Proxies,
  names: readonly string[],
  body: string,
): Promise<Answer> {
  const found = findToxic(proxies, names);
  if (found instanceof Refusal) return refused(found);
  const { proxy, toxic } = found;
  const parsed = parseBody(body);
  const change = parsed instanceof Refusal ? parsed : readFields(parsed, TOXIC_FIELDS);
  if (change instanceof Refusal) return refused(change);
  const attributes = readAttributes(toxic.kind.attributes, change.attributes);
  if (attributes instanceof Refusal) return refused(attributes);
  toxic.attributes = { ...toxic.attributes, ...attributes };
  if (change.toxicity !== undefined) toxic.toxicity = asFloat32(change.toxicity);
  proxy.updateToxic(toxic);
  return json(200, toxicOf(toxic));
}

async function dropToxic(proxies: Proxies, names: readonly string[]): Promise<Answer> {
  const found = findToxic(proxies, names);
  if (found instanceof Refusal) return refused(found);
  found.proxy.removeToxic(found.toxic);
  return { status: 204 };
}

function findToxic(
  proxies: Proxies,
  [proxyName = '', toxicName = '']: readonly string[],
): { proxy: TcpProxy; toxic: Toxic } | Refusal {
  const proxy = proxies.get(proxyName);
  if (proxy instanceof Refusal) return proxy;
  const toxic = proxy.allToxics().find(({ name }) => name === toxicName);
  return toxic === undefined ? new Refusal(404, 'toxic not found') : { proxy, toxic };
}

function newToxic(proxy: TcpProxy, body: unknown): Toxic | Refusal {
  const fields = body instanceof Refusal ? body : readFields(body, TOXIC_FIELDS);
  if (fields instanceof Refusal) return fields;
  const { stream: streamSent = 'downstream', type = '', toxicity = 1 } = fields;
  const stream = streamSent.toLowerCase();
  if (stream !== 'upstream' && stream !== 'downstream') {
    return new Refusal(400, 'stream was invalid, can be either upstream or downstream');
  }
  const kind = TOXIC_KINDS.get(type);
  if (kind === undefined) return new Refusal(400, 'invalid toxic type');
  const name =
    fields.name === undefined || fields.name === '' ? `${type}_${streamSent}` : fields.name;
  if (proxy.allToxics().some((toxic) => toxic.name === name)) {
    return new Refusal(409, 'toxic already exists');
  }
  const given = readAttributes(kind.attributes, fields.attributes);
  if (given instanceof Refusal) return given;
  const attributes = { ...Object.fromEntries(kind.attributes.map((key) => [key, 0])), ...given };
  return { name, kind, stream, streamSent, toxicity: asFloat32(toxicity), attributes };
}

function readAttributes(
  keys: readonly string[],
  sent: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, number>> | Refusal {
  const fields = Object.fromEntries(keys.map((key) => [key, 'integer' as const]));
  // `Given` says a key may be absent; a key that is there carries a number.
  const given = readFields(sent ?? null, fields);
  return given as Readonly<Record<string, number>> | Refusal;
}

function proxyFields(body: unknown): ProxyFields | Refusal {
  if (body instanceof Refusal) return body;
  const given = readFields(body, PROXY_FIELDS);
  if (given instanceof Refusal) return given;
  return { name: '', listen: '', upstream: '', enabled: true, ...given };
}

function showOf(proxy: TcpProxy): Record<string, unknown> {
  const { name, listen, upstream, enabled } = proxy;
  return { name, listen, upstream, enabled, toxics: [...proxy.allToxics()].map(toxicOf) };
}

function toxicOf({ attributes, name, kind, streamSent, toxicity }: Toxic): Record<string, unknown> {
  return { attributes, name, type: kind.type, stream: streamSent, toxicity };
}

/** Toxicity is a 32-bit float there; this is its shortest decimal, as Go prints it. */
function asFloat32(value: number): number {
  const single = Math.fround(value);
  for (let digits = 1; digits <= 9; digits += 1) {
    const shortest = Number(single.toPrecision(digits));
    if (Math.fround(shortest) === single) return shortest;
  }
  return single;
}

function json(status: number, value: unknown): Answer {
  return { status, type: JSON_TYPE, body: JSON.stringify(value) };
}

/** JSON that calls itself text, as the original does. */
function refused({ status, error }: Refusal): Answer {
  return { status, type: TEXT_TYPE, body: `${JSON.stringify({ error, status })}\n` };
}
