/**
 * Which proxies are there, and what may happen to all of them at once?
 *
 * Changes that bind a port run one after the other, so that two creations of one name cannot both
 * find it free. Changes of toxics need no turn: they happen between two events.
 */
import { type ProxyFields, TcpProxy } from './proxy.ts';
import { Refusal } from './refusal.ts';
import type { World } from './seat.ts';

export type Populated = { done: readonly TcpProxy[]; refusal: Refusal | undefined };

export class Proxies {
  readonly #world: World;
  readonly #byName = new Map<string, TcpProxy>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(world: World) {
    this.#world = world;
  }

  list(): readonly TcpProxy[] {
    return [...this.#byName.values()];
  }

  get(name: string): TcpProxy | Refusal {
    return this.#byName.get(name) ?? new Refusal(404, 'proxy not found');
  }

  create(fields: ProxyFields): Promise<TcpProxy | Refusal> {
    const missing = missingField(fields);
    if (missing !== undefined) return Promise.resolve(new Refusal(400, missing));
    return this.#inTurn(async () => {
      if (this.#byName.has(fields.name)) return new Refusal(409, 'proxy already exists');
      return await this.#start(fields);
    });
  }

  update(name: string, change: Partial<ProxyFields>): Promise<TcpProxy | Refusal> {
    return this.#inTurn(async () => {
      const proxy = this.get(name);
      if (proxy instanceof Refusal) return proxy;
      const { listen, upstream, enabled } = { ...asFields(proxy), ...change };
      return (await proxy.update({ listen, upstream, enabled })) ?? proxy;
    });
  }

  remove(name: string): Promise<Refusal | undefined> {
    return this.#inTurn(async () => {
      const proxy = this.get(name);
      if (proxy instanceof Refusal) return proxy;
      proxy.disable();
      this.#byName.delete(name);
      return undefined;
    });
  }

  /** Brings the listed proxies about, in order, and stops at the first that fails. */
  populate(wanted: readonly ProxyFields[]): Promise<Populated> {
    for (const [index, fields] of wanted.entries()) {
      const missing = missingField(fields);
      if (missing === undefined) continue;
      const refusal = new Refusal(400, `${missing} at proxy ${index + 1}`);
      return Promise.resolve({ done: [], refusal });
    }
    return this.#inTurn(async () => {
      const done: TcpProxy[] = [];
      for (const fields of wanted) {
        const proxy = await this.#bringAbout(fields);
        if (proxy instanceof Refusal) return { done, refusal: proxy };
        done.push(proxy);
      }
      return { done, refusal: undefined };
    });
  }

  /** Enables every proxy and removes every toxic. */
  reset(): Promise<Refusal | undefined> {
    return this.#inTurn(async () => {
      for (const proxy of this.#byName.values()) {
        const refusal = await proxy.enable();
        if (refusal !== undefined) return refusal;
        for (const toxic of [...proxy.allToxics()]) proxy.removeToxic(toxic);
      }
      return undefined;
    });
  }

  /** Cuts everything; for the end of the process. */
  close(): void {
    for (const proxy of this.#byName.values()) proxy.disable();
    this.#byName.clear();
  }

  async #bringAbout(fields: ProxyFields): Promise<TcpProxy | Refusal> {
    const present = this.#byName.get(fields.name);
    if (present === undefined) return await this.#start(fields);
    const stays = await present.isAt(fields);
    if (stays instanceof Refusal) return stays;
    if (stays) return present;
    // If the new one cannot start, the old one stays listed and stopped: nobody else took its name.
    present.disable();
    return await this.#start(fields);
  }

  async #start(fields: ProxyFields): Promise<TcpProxy | Refusal> {
    const proxy = new TcpProxy(fields, this.#world);
    const refusal = fields.enabled ? await proxy.enable() : undefined;
    if (refusal !== undefined) return refusal;
    this.#byName.set(fields.name, proxy);
    return proxy;
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change);
    // Only a bug rejects here; the request that met it reports it, the next one still gets its turn.
    this.#turn = result.catch(() => {});
    return result;
  }
}

function asFields({ name, listen, upstream, enabled }: TcpProxy): ProxyFields {
  return { name, listen, upstream, enabled };
}

function missingField({ name, upstream }: ProxyFields): string | undefined {
  if (name === '') return 'missing required field: name';
  if (upstream === '') return 'missing required field: upstream';
  return undefined;
}
