/**
 * What does a contract case need around it?
 *
 * A thin HTTP client that hides nothing, proxies under names of their own, peers on both sides, and
 * a clean-up that leaves the server empty for the next case.
 */
import { expect } from 'vitest';
import { Backend, dial, type Peer } from './peer.ts';

/** Timers may fire a little early; a machine may be a good deal late. */
const EARLY_MS = 5;
const LATE_MS = 60;

/**
 * A case that measures may be tried again: a busy machine is late now and then, while a toxic that
 * is wrong is wrong each time.
 */
export const TIMING = { retry: 2 } as const;

export type Reply = { status: number; headers: Headers; text: string; json: unknown };

export type ToxicView = {
  name: string;
  type: string;
  stream: string;
  toxicity: number;
  attributes: Record<string, number>;
};

export type ProxyView = {
  name: string;
  listen: string;
  upstream: string;
  enabled: boolean;
  toxics: ToxicView[];
};

/** A connection through a proxy, seen from both of its ends. */
export type Pair = { name: string; port: number; client: Peer; server: Peer };

export class Rig {
  readonly url: string;
  readonly nowMs: () => number;
  readonly #backends: Backend[] = [];
  readonly #clients: Peer[] = [];
  #names = 0;

  constructor(url: string, nowMs: () => number) {
    this.url = url;
    this.nowMs = nowMs;
  }

  freshName(): string {
    this.#names += 1;
    return `case-${this.#names}`;
  }

  /** A body that is a string is sent as it is; anything else as JSON. */
  async api(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply> {
    const sent = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
    const response = await fetch(this.url + path, {
      method,
      headers,
      redirect: 'manual',
      ...(sent === undefined ? {} : { body: sent }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: asJson(text) };
  }

  async createProxy(fields: Record<string, unknown> = {}): Promise<ProxyView> {
    const reply = await this.api('POST', '/proxies', {
      name: this.freshName(),
      listen: 'localhost:0',
      upstream: '127.0.0.1:1',
      ...fields,
    });
    expect(reply.status, reply.text).toBe(201);
    return reply.json as ProxyView;
  }

  async proxy(name: string): Promise<ProxyView> {
    const reply = await this.api('GET', `/proxies/${name}`);
    expect(reply.status, reply.text).toBe(200);
    return reply.json as ProxyView;
  }

  async updateProxy(name: string, change: Record<string, unknown>): Promise<ProxyView> {
    const reply = await this.api('POST', `/proxies/${name}`, change);
    expect(reply.status, reply.text).toBe(200);
    return reply.json as ProxyView;
  }

  async addToxic(proxy: string, toxic: Record<string, unknown>): Promise<ToxicView> {
    const reply = await this.api('POST', `/proxies/${proxy}/toxics`, toxic);
    expect(reply.status, reply.text).toBe(200);
    return reply.json as ToxicView;
  }

  async updateToxic(proxy: string, toxic: string, change: unknown): Promise<ToxicView> {
    const reply = await this.api('POST', `/proxies/${proxy}/toxics/${toxic}`, change);
    expect(reply.status, reply.text).toBe(200);
    return reply.json as ToxicView;
  }

  async removeToxic(proxy: string, toxic: string): Promise<void> {
    const reply = await this.api('DELETE', `/proxies/${proxy}/toxics/${toxic}`);
    expect(reply.status, reply.text).toBe(204);
  }

  async backend(onPeer: (peer: Peer) => void = () => {}): Promise<Backend> {
    const backend = await Backend.listen(this.nowMs, onPeer);
    this.#backends.push(backend);
    return backend;
  }

  async connect(port: number): Promise<Peer> {
    const peer = await dial(port, this.nowMs);
    if (typeof peer === 'string') throw new Error(`${port}: ${peer}`);
    this.#clients.push(peer);
    return peer;
  }

  /** `ECONNREFUSED` where nobody listens. */
  async dialError(port: number): Promise<string | undefined> {
    const peer = await dial(port, this.nowMs);
    if (typeof peer === 'string') return peer;
    peer.destroy();
    return undefined;
  }

  /** A port that was free a moment ago. */
  async freePort(): Promise<number> {
    const backend = await Backend.listen(this.nowMs, () => {});
    await backend.close();
    return backend.port;
  }

  /** Toxics first, then one connection through a fresh proxy. */
  async pair(...toxics: Record<string, unknown>[]): Promise<Pair> {
    const backend = await this.backend();
    const { name, listen } = await this.createProxy({ upstream: backend.upstream });
    for (const toxic of toxics) await this.addToxic(name, toxic);
    const port = portOf(listen);
    const client = await this.connect(port);
    return { name, port, client, server: await backend.accepted() };
  }

  /** A client whose messages come back. */
  async echo(...toxics: Record<string, unknown>[]): Promise<Pair> {
    const pair = await this.pair(...toxics);
    pair.server.echo();
    return pair;
  }

  async cleanUp(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.destroy();
    const { json } = await this.api('GET', '/proxies');
    for (const name of Object.keys(json as object)) await this.api('DELETE', `/proxies/${name}`);
    for (const backend of this.#backends.splice(0)) await backend.close();
  }
}

export function portOf(listen: string): number {
  return Number(listen.slice(listen.lastIndexOf(':') + 1));
}

/** The measured time is the expected one, as far as timers can be held to it. */
export function expectAbout(measuredMs: number, expectedMs: number): void {
  expect(measuredMs).toBeGreaterThanOrEqual(expectedMs - EARLY_MS);
  expect(measuredMs).toBeLessThanOrEqual(expectedMs + LATE_MS);
}

/** Bytes that show where they were, so that loss and reordering are seen. */
export function pattern(bytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
