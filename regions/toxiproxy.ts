/**
 * How does anything here talk to a Toxiproxy, and which one?
 *
 * The one door to `toxiproxy-node-client`. The package gives the calls that lose nothing (create,
 * version, reset), the types of toxics, and a public `api` that takes another HTTP client. Ours has
 * a deadline and keeps the status and the server's words, which the package drops. The other calls
 * go to `api` directly: the package's `Proxy` forgets its toxics and does not encode names, its
 * `populate` throws on the server's null for an empty list, and nothing in it lists toxics,
 * enables or disables.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import {
  type Bandwidth,
  type Latency,
  type Slicer,
  type Slowclose,
  type Timeout,
  Toxiproxy,
} from 'toxiproxy-node-client';
import { HttpClient, type HttpResponse } from 'toxiproxy-node-client/dist/HttpClient.js';
import { ownModule } from './own-module.ts';

/** An answer takes a millisecond or two; the original can also hang for good, on a stalled receiver. */
const TIMEOUT_MS = 2_000;
const POLL_EVERY_MS = 25;

export type ToxicStream = 'upstream' | 'downstream';

/** Attributes by type of toxic; each is a whole number and zero unless given. */
export type ToxicAttributes = {
  latency: Latency;
  bandwidth: Bandwidth;
  slow_close: Slowclose;
  timeout: Timeout;
  slicer: Slicer;
  reset_peer: { readonly timeout: number };
  limit_data: { readonly bytes: number };
  noop: Readonly<Record<never, number>>;
};

export type ToxicType = keyof ToxicAttributes;

type OneOf<Type extends ToxicType> = {
  type: Type;
  /** Downstream unless given: towards the client. */
  stream?: ToxicStream;
  /** `<type>_<stream>` unless given; unique over both streams of a proxy. */
  name?: string;
  /** Share of connections it acts on; 1 unless given. */
  toxicity?: number;
  attributes?: Partial<ToxicAttributes[Type]>;
};

export type NewToxic = { [Type in ToxicType]: OneOf<Type> }[ToxicType];
export type ToxicChange = {
  toxicity?: number;
  attributes?: Readonly<Record<string, number>>;
};

export type ToxicState = {
  name: string;
  type: string;
  stream: string;
  toxicity: number;
  attributes: Readonly<Record<string, number>>;
};

export type NewProxy = { name: string; listen: string; upstream: string; enabled?: boolean };
export type ProxyState = {
  name: string;
  /** While enabled, the address that is really bound. */
  listen: string;
  upstream: string;
  enabled: boolean;
  toxics: readonly ToxicState[];
};

export type FaultsFailure =
  | { kind: 'refused'; status: number; said: string }
  | { kind: 'unreachable'; because: string }
  | { kind: 'timed_out'; timeoutMs: number }
  /** Something answered that is not a Toxiproxy. */
  | { kind: 'not_understood'; said: string };

/** Thrown by every call of `Faults`; `failure` says what happened, without parsing a message. */
export class FaultsError extends Error {
  override readonly name = 'FaultsError';
  readonly failure: FaultsFailure;

  constructor(call: string, failure: FaultsFailure) {
    super(`${call}: ${inWords(failure)}`);
    this.failure = failure;
  }
}

export class Faults {
  readonly url: string;
  readonly #client: Toxiproxy;

  /** `timeoutMs` holds for each call, body included. */
  constructor(url: string, { timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {}) {
    // The package glues paths to it, and `//version` is not a path.
    this.url = url.replace(/\/+$/, '');
    this.#client = new Toxiproxy(this.url);
    this.#client.api = new PunctualClient(timeoutMs);
  }

  async version(): Promise<string> {
    const text = await this.#client.getVersion();
    const version = asRecord(parseJson('GET /version', text)).version;
    if (typeof version === 'string') return version;
    throw new FaultsError('GET /version', { kind: 'not_understood', said: excerpt(text) });
  }

  /** Asks until the API answers, for servers that do not say when they are ready. */
  async untilReady({ withinMs }: { withinMs: number }): Promise<void> {
    for (let leftMs = withinMs; ; leftMs -= POLL_EVERY_MS) {
      try {
        await this.version();
        return;
      } catch (error) {
        const starting = error instanceof FaultsError && error.failure.kind === 'unreachable';
        if (!starting || leftMs <= 0) throw error;
      }
      await new Promise((done) => setTimeout(done, POLL_EVERY_MS));
    }
  }

  async createProxy(proxy: NewProxy): Promise<ProxyState> {
    const { name, listen, upstream, enabled } = await this.#client.createProxy(proxy);
    return { name, listen, upstream, enabled, toxics: [] };
  }

  /** Brings proxies about; those already there, at the same addresses, keep toxics and state. */
  async populate(proxies: readonly NewProxy[]): Promise<readonly ProxyState[]> {
    const { data } = await this.#api.post<{ proxies: unknown }>(`${this.url}/populate`, proxies);
    return Array.isArray(data.proxies) ? data.proxies.map(asProxy) : [];
  }

  async proxies(): Promise<ReadonlyMap<string, ProxyState>> {
    const { data } = await this.#api.get<Record<string, unknown>>(`${this.url}/proxies`);
    return new Map(Object.entries(data).map(([name, proxy]) => [name, asProxy(proxy)]));
  }

  async proxy(name: string): Promise<ProxyState> {
    return asProxy((await this.#api.get(this.#at(name))).data);
  }

  enable(name: string): Promise<ProxyState> {
    return this.updateProxy(name, { enabled: true });
  }

  /** Refuses new connections and cuts those that are open. */
  disable(name: string): Promise<ProxyState> {
    return this.updateProxy(name, { enabled: false });
  }

  async updateProxy(name: string, change: Partial<Omit<NewProxy, 'name'>>): Promise<ProxyState> {
    return asProxy((await this.#api.post(this.#at(name), change)).data);
  }

  async removeProxy(name: string): Promise<void> {
    await this.#api.delete(this.#at(name));
  }

  async toxics(proxy: string): Promise<readonly ToxicState[]> {
    return (await this.#api.get<ToxicState[]>(`${this.#at(proxy)}/toxics`)).data;
  }

  async addToxic(proxy: string, toxic: NewToxic): Promise<ToxicState> {
    return (await this.#api.post<ToxicState>(`${this.#at(proxy)}/toxics`, toxic)).data;
  }

  /** Attributes that are not given keep their values. */
  async updateToxic(proxy: string, toxic: string, change: ToxicChange): Promise<ToxicState> {
    return (await this.#api.post<ToxicState>(this.#at(proxy, toxic), change)).data;
  }

  async removeToxic(proxy: string, toxic: string): Promise<void> {
    await this.#api.delete(this.#at(proxy, toxic));
  }

  /** Removes all toxics and enables all proxies. */
  async reset(): Promise<void> {
    await this.#client.reset();
  }

  get #api(): HttpClient {
    return this.#client.api;
  }

  #at(proxy: string, toxic?: string): string {
    const path = `${this.url}/proxies/${encodeURIComponent(proxy)}`;
    return toxic === undefined ? path : `${path}/toxics/${encodeURIComponent(toxic)}`;
  }
}

/** Stands in for the package's HTTP client, with a deadline and errors that say what happened. */
class PunctualClient extends HttpClient {
  readonly #timeoutMs: number;

  constructor(timeoutMs: number) {
    super();
    this.#timeoutMs = timeoutMs;
  }

  override async get<T>(url: string): Promise<HttpResponse<T>> {
    return { data: parseJson(`GET ${url}`, await this.#ask('GET', url)) as T };
  }

  override async post<T>(url: string, body?: unknown): Promise<HttpResponse<T>> {
    const text = await this.#ask('POST', url, body);
    return { data: (text === '' ? undefined : parseJson(`POST ${url}`, text)) as T };
  }

  override async delete(url: string): Promise<void> {
    await this.#ask('DELETE', url);
  }

  override getText(url: string): Promise<string> {
    return this.#ask('GET', url);
  }

  async #ask(method: string, url: string, body?: unknown): Promise<string> {
    const call = `${method} ${url}`;
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    let status: number;
    let text: string;
    try {
      const response = await fetch(url, { method, signal, ...sent });
      status = response.status;
      text = await response.text();
    } catch (error) {
      if (signal.aborted) {
        throw new FaultsError(call, { kind: 'timed_out', timeoutMs: this.#timeoutMs });
      }
      throw new FaultsError(call, { kind: 'unreachable', because: rootCause(error) });
    }
    if (status >= 200 && status < 300) return text;
    throw new FaultsError(call, { kind: 'refused', status, said: serverWords(text) });
  }
}

export type FoundToxiproxy =
  /** Somebody runs one already. */
  | { kind: 'running'; url: string }
  /** To be started as a child process. The original does not say when it is ready: poll it. */
  | { kind: 'installed' | 'built-in'; command: string; args(at: ListenAt): readonly string[] };

export type ListenAt = { host: string; port: number };

const BUILT_IN = ownModule(import.meta.url, '../chaos/toxiproxy/main');

/**
 * Which Toxiproxy to use: the one at TOXIPROXY_URL, the binary TOXIPROXY_SERVER, `toxiproxy-server`
 * on the PATH, or the built-in one. The built-in takes port 0 and sends `{ ready: true, port }`
 * over an IPC channel if it has one; the original needs a real port.
 */
export function findToxiproxy(env: Readonly<Record<string, string | undefined>>): FoundToxiproxy {
  if (env.TOXIPROXY_URL) return { kind: 'running', url: env.TOXIPROXY_URL };
  const installed = env.TOXIPROXY_SERVER || onPath('toxiproxy-server', env.PATH ?? '');
  if (installed) {
    const args = ({ host, port }: ListenAt) => ['-host', host, '-port', String(port)];
    return { kind: 'installed', command: installed, args };
  }
  const args = ({ host, port }: ListenAt) => [BUILT_IN, '--host', host, '--port', String(port)];
  return { kind: 'built-in', command: process.execPath, args };
}

function onPath(program: string, path: string): string | undefined {
  return path
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => resolve(folder, program))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function inWords(failure: FaultsFailure): string {
  switch (failure.kind) {
    case 'refused':
      return `${failure.status} ${failure.said}`;
    case 'unreachable':
      return failure.because;
    case 'timed_out':
      return `no answer within ${failure.timeoutMs} ms`;
    case 'not_understood':
      return `not an answer of Toxiproxy: ${failure.said}`;
  }
}

function asProxy(value: unknown): ProxyState {
  const { name, listen, upstream, enabled, toxics } = asRecord(value);
  if (typeof name !== 'string' || typeof listen !== 'string' || !Array.isArray(toxics)) {
    const said = excerpt(JSON.stringify(value) ?? 'nothing');
    throw new FaultsError('a proxy', { kind: 'not_understood', said });
  }
  return { name, listen, upstream: String(upstream), enabled: enabled === true, toxics };
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function parseJson(call: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FaultsError(call, { kind: 'not_understood', said: excerpt(text) });
  }
}

/** The `error` of the server's JSON; it calls that JSON text, so the type says nothing. */
function serverWords(text: string): string {
  try {
    const { error } = asRecord(JSON.parse(text));
    if (typeof error === 'string') return error;
  } catch {
    // A proxy in between, or a handler that gave up, answers in its own words.
  }
  return excerpt(text);
}

function excerpt(text: string): string {
  return text.trim().slice(0, 200);
}

/** `fetch failed` hides what failed in its cause. */
function rootCause(error: unknown): string {
  let cause = error;
  for (let depth = 0; depth < 5 && cause instanceof Error; depth += 1) {
    if (!(cause.cause instanceof Error)) return cause.message || cause.name;
    cause = cause.cause;
  }
  return String(cause);
}
