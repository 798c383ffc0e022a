/**
 * How does the sample data get through the edges, once and no more?
 *
 * Each user is brought to what the data says, whatever an earlier run has left: who exists is
 * found by the refusal to create them again, their orders are counted before any is placed, and a
 * write whose outcome is unknown is looked up, never simply repeated. Users go side by side, the
 * orders of one user one after the other.
 */
import type { Answer, Asked, EdgeClient } from './edge-client.ts';
import type { SeedOrder, SeedUser, Status } from './seed-data.ts';

export type SenderOptions = {
  edges: readonly EdgeClient[];
  users: readonly SeedUser[];
  /** Users at a time. */
  concurrency: number;
  /** Resolves after so many milliseconds. */
  pause: (ms: number) => Promise<unknown>;
  onProgress: (tally: Readonly<Tally>) => void;
};

export type Tally = {
  users: { created: number; found: number };
  orders: { created: number; found: number };
  changes: { created: number; found: number };
  requests: number;
  /** Requests that were sent once more, because the answer said that this is safe. */
  retries: number;
  /** Users of each part of the world by their home. */
  homes: Map<string, Map<string, number>>;
  /** What each edge took in. */
  edges: Map<string, { users: number; orders: number }>;
};

export type SendOutcome = { kind: 'done'; tally: Tally } | { kind: 'refused'; why: string };

/** With doubling pauses from 50 ms this rides out three seconds: a promotion, a restarted edge. */
const TRIES_MAX = 7;
const FIRST_PAUSE_MS = 50;
/** Longer than an edge lets a request run: a write under way has ended before it is looked for. */
const UNSURE_PAUSE_MS = 2_500;
const PAGE_MAX = 100;

/** What this run cannot get past. */
class Refused extends Error {}
/** A write may or may not have happened: the user has to be looked at again. */
class Unsure extends Error {}

type StoredOrder = { id: string; version: number };

export async function send(options: SenderOptions): Promise<SendOutcome> {
  const tally = emptyTally(options.edges);
  const queue = options.users.values();
  let refused: Refused | undefined;
  const work = async () => {
    for (const user of queue) {
      if (refused !== undefined) return;
      try {
        await new Visitor(options, tally, user).bring();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refused ??= error;
      }
      options.onProgress(tally);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, work));
  return refused === undefined
    ? { kind: 'done', tally }
    : { kind: 'refused', why: refused.message };
}

/** One user on the way into the shop. */
class Visitor {
  #options: SenderOptions;
  #tally: Tally;
  #user: SeedUser;
  /** The edge that the user signs up at. */
  #first: EdgeClient;
  /** One of the home region, if the data may be sent to one. */
  #near: EdgeClient;
  /** The one that the user is at now. */
  #edge: EdgeClient;
  #path: string;
  #session: string | undefined;
  /** What is in the tally already, should the user be looked at again. */
  #told = false;
  #counted = new Set<number>();
  #unsureInARow = 0;

  constructor(options: SenderOptions, tally: Tally, user: SeedUser) {
    const edge = options.edges[Math.floor(user.edgeDraw * options.edges.length)];
    if (edge === undefined) throw new RangeError('no edges');
    this.#options = options;
    this.#tally = tally;
    this.#user = user;
    this.#first = edge;
    this.#near = edge;
    this.#edge = edge;
    this.#path = `/users/${encodeURIComponent(user.id)}`;
  }

  async bring(): Promise<void> {
    for (;;) {
      try {
        const stored = (await this.#signUp()) ? [] : await this.#lookUp();
        return await this.#order(stored);
      } catch (error) {
        if (!(error instanceof Unsure)) throw error;
        if (++this.#unsureInARow >= TRIES_MAX) throw new Refused(error.message);
        await this.#options.pause(UNSURE_PAUSE_MS);
      }
    }
  }

  /** True when the user is new. */
  async #signUp(): Promise<boolean> {
    const { id, displayName, email, country, area } = this.#user;
    this.#edge = this.#first;
    const answer = await this.#ask({
      method: 'POST',
      path: '/users',
      body: { id, displayName, email, country },
    });
    const created = answer.status === 201;
    if (!created && !isProblem(answer, 'subject-exists'))
      throw refusal(answer, this.#edge, '/users');
    const home = created
      ? String(answer.headers['domicile-home'])
      : (answer.body as { home: string }).home;
    this.#near = this.#options.edges.find(({ region }) => region === home) ?? this.#first;
    const { homes, users, edges } = this.#tally;
    // A user whose sign-up is repeated after an unknown outcome is told of only once.
    if (this.#told) return created;
    this.#told = true;
    users[created ? 'created' : 'found']++;
    const ofArea = homes.get(area) ?? new Map<string, number>();
    homes.set(area, ofArea.set(home, (ofArea.get(home) ?? 0) + 1));
    const taken = edges.get(this.#edge.region);
    if (created && taken !== undefined) taken.users++;
    return created;
  }
  /** The user's orders, oldest first; refused when the id is somebody else's. */
  async #lookUp(): Promise<StoredOrder[]> {
    const profile = await this.#ask({ method: 'GET', path: this.#path });
    const { displayName, country } = this.#user;
    const stored = profile.body as { displayName?: string; country?: string };
    if (profile.status !== 200) throw refusal(profile, this.#edge, this.#path);
    if (stored.displayName !== displayName || stored.country !== country) {
      throw new Refused(
        `${this.#user.id} is there already and is somebody else. Was this world seeded with another --seed or --users?`,
      );
    }
    const newestFirst: StoredOrder[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const page = await this.#page(next);
      newestFirst.push(...page.orders);
      next = page.next ?? undefined;
    }
    return newestFirst.reverse();
  }

  async #page(after: string): Promise<{ orders: StoredOrder[]; next: string | null }> {
    const from = after === '' ? '' : `&after=${encodeURIComponent(after)}`;
    const path = `${this.#path}/orders?limit=${PAGE_MAX}${from}`;
    const answer = await this.#ask({ method: 'GET', path });
    if (answer.status !== 200) throw refusal(answer, this.#edge, path);
    return answer.body as { orders: StoredOrder[]; next: string | null };
  }

  async #order(stored: readonly StoredOrder[]): Promise<void> {
    const { orders, changes } = this.#tally;
    for (const [index, { items, changes: wanted, travelling }] of this.#user.orders.entries()) {
      this.#edge = travelling ? this.#first : this.#near;
      const found = stored[index];
      const order = found ?? (await this.#place({ items }));
      // Each change adds one to the version, so the version tells how many were made.
      const made = order.version - 1;
      if (found !== undefined && !this.#counted.has(index)) {
        orders.found++;
        changes.found += Math.min(made, wanted.length);
      }
      this.#counted.add(index);
      for (const [offset, status] of wanted.slice(made).entries()) {
        await this.#change(order.id, { status, version: order.version + offset });
      }
    }
  }

  async #place(body: { items: SeedOrder['items'] }): Promise<StoredOrder> {
    const path = `${this.#path}/orders`;
    const answer = await this.#ask({ method: 'POST', path, body });
    if (answer.status !== 201) throw refusal(answer, this.#edge, path);
    const { orders, edges } = this.#tally;
    orders.created++;
    this.#unsureInARow = 0;
    const taken = edges.get(this.#edge.region);
    if (taken !== undefined) taken.orders++;
    return answer.body as StoredOrder;
  }

  async #change(id: string, body: { status: Status; version: number }): Promise<void> {
    const path = `${this.#path}/orders/${id}`;
    const answer = await this.#ask({ method: 'PATCH', path, body });
    if (answer.status !== 200) throw refusal(answer, this.#edge, path);
    this.#tally.changes.created++;
    this.#unsureInARow = 0;
  }

  /** Asks until there is an answer that another try would not change. */
  async #ask(asked: Asked): Promise<Answered> {
    const { pause } = this.#options;
    const repeatable = asked.method === 'GET' || asked.path === '/users';
    for (let tries = 1, pauseMs = FIRST_PAUSE_MS; ; tries++, pauseMs *= 2) {
      this.#tally.requests++;
      const answer = await this.#edge.ask({ ...asked, session: this.#session });
      if (answer.kind === 'answered') {
        const token = answer.headers['domicile-session'];
        if (typeof token === 'string') this.#session = token;
        const retry = retryOf(answer);
        if (retry === undefined || retry === 'after-change') return answer;
        if (tries >= TRIES_MAX) throw refusal(answer, this.#edge, asked.path);
        if (retry === 'same-key-only' && !repeatable) {
          throw new Unsure(refusal(answer, this.#edge, asked.path).message);
        }
      } else {
        const why = `The edge of ${this.#edge.region} does not answer ${asked.path}: ${answer.why}`;
        if (tries >= TRIES_MAX) throw new Refused(why);
        if (!repeatable && answer.why !== 'ECONNREFUSED') throw new Unsure(why);
      }
      this.#tally.retries++;
      await pause(pauseMs);
    }
  }
}

type Answered = Extract<Answer, { kind: 'answered' }>;

function retryOf({ status, body }: Answered): string | undefined {
  if (status < 400) return undefined;
  const { retry } = (typeof body === 'object' ? (body ?? {}) : {}) as { retry?: string };
  return retry ?? 'after-change';
}

function isProblem({ body }: Answered, kind: string): boolean {
  const { type } = (typeof body === 'object' ? (body ?? {}) : {}) as { type?: string };
  return type?.endsWith(`#${kind}`) === true;
}

function refusal({ status, body }: Answered, { region }: EdgeClient, path: string): Refused {
  const { title, detail } = (typeof body === 'object' ? (body ?? {}) : {}) as {
    title?: string;
    detail?: string;
  };
  const said = title === undefined ? '' : `: ${title}. ${detail ?? ''}`;
  return new Refused(`The edge of ${region} answers ${status} to ${path}${said}`);
}

function emptyTally(edges: readonly EdgeClient[]): Tally {
  return {
    users: { created: 0, found: 0 },
    orders: { created: 0, found: 0 },
    changes: { created: 0, found: 0 },
    requests: 0,
    retries: 0,
    homes: new Map(),
    edges: new Map(edges.map(({ region }) => [region, { users: 0, orders: 0 }])),
  };
}
