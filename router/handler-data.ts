/**
 * What does `c.var.data` do at the home, for a newcomer, and abroad?
 *
 * Three ways to run a handler's SQL, chosen by `domicile.ts` before the handler runs. Where the SQL
 * goes is `region-database.ts`'s business; here the visit learns what came of it.
 */

import type { Context } from 'hono';
import {
  alsoSaw,
  floorOf,
  goOnFrom,
  goOnIn,
  raise,
  seenAtHome,
  seeThrough,
} from '../policies/session.ts';
import type { Seen } from '../policies/standing.ts';
import type { RegionId } from '../regions/catalogue.ts';
import type { Sql } from '../regions/postgres.ts';
import type { MirrorSighting } from '../regions/sighting.ts';
import { type Data, type Domicile, isRead } from './domicile.ts';
import type { Edge } from './edge.ts';
import { isSafe } from './hop.ts';
import type { Ending } from './once.ts';
import { Refusal } from './problem.ts';
import { CopyWithdrawn, type Witness } from './region-database.ts';
import type { Visit } from './visit.ts';

type Ctx = Context<Domicile>;

/** A copy of another home's data, and where it stands in this region's databases. */
export type Copy = { name: string; relation: string; home: RegionId };

/** A chosen id on its way to being stored. */
export type Claim = { id: string; used: 'no' | 'yes' | 'unknown' };

export class HomeData implements Data {
  protected edge: Edge;
  protected visit: Visit;
  protected c: Ctx;
  protected witness: Witness;

  constructor(edge: Edge, c: Ctx, visit: Visit) {
    this.edge = edge;
    this.visit = visit;
    this.c = c;
    this.witness = witnessOf(edge, visit);
  }

  async read<T>(query: (sql: Sql) => Promise<T>): Promise<T> {
    const { edge, visit } = this;
    if (visit.shared !== undefined) {
      await this.#meetCopies();
      await edge.database.meet(visit, floorOf(visit.session, edge.here), this.witness);
      return visit.shared.read(query);
    }
    const startedAtMs = edge.now();
    await this.#meetCopies();
    const floor = floorOf(visit.session, edge.here);
    const value = await edge.database.read(visit, floor, query, this.witness);
    if (visit.level.kind === 'session') visit.session = seenAtHome(visit.session, edge.here);
    visit.timed('sql', edge.now() - startedAtMs);
    return value;
  }

  async write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const { edge, visit } = this;
    if (isRead(this.c, visit)) throw new Refusal({ kind: 'read-only-route' });
    if (visit.shared !== undefined) return visit.shared.write(work);
    const startedAtMs = edge.now();
    const value = await edge.database.write(
      visit,
      floorOf(visit.session, edge.here),
      work,
      this.witness,
    );
    visit.session = seenAtHome(visit.session, edge.here);
    visit.timed('sql', edge.now() - startedAtMs);
    return value;
  }

  /** A copy abroad may have shown what no floor names; it lies below what the primary has now. */
  async #meetCopies(): Promise<void> {
    const { edge, visit } = this;
    if (visit.level.kind !== 'session' || !visit.session.seenThrough.has(edge.here)) return;
    visit.session = alsoSaw(visit.session, edge.here, await edge.database.present(visit));
  }
}

/** Raises the visit's session to what this region shows it. */
export function witnessOf(edge: Edge, visit: Visit): Witness {
  return {
    saw: (seen, compared) => {
      visit.session = raise(visit.session, edge.here, seen, compared);
    },
    goesOnIn: (at, history) => {
      visit.session = goOnIn(visit.session, edge.here, at, history);
    },
    goesOnFrom: (seen) => {
      visit.session = goOnFrom(visit.session, edge.here, seen);
    },
  };
}

/** The first write of a newcomer also makes this region its home, or neither happens. */
export class NewcomerData extends HomeData {
  #id: string;
  #key: string;
  #claim: Claim | undefined;
  #settled = false;

  constructor(edge: Edge, c: Ctx, visit: Visit, id: string, claim: Claim | undefined) {
    super(edge, c, visit);
    this.#id = id;
    this.#key = edge.directory.keyOf(id);
    this.#claim = claim;
  }

  override async write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    if (this.#settled) return super.write(work);
    const { edge, visit } = this;
    const { placed } = visit;
    if (placed === undefined) throw new Error('stores a subject that no policy has placed');
    const key = Buffer.from(this.#key, 'base64url');
    const claim = this.#claim?.id ?? null;
    try {
      const value = await super.write(async (sql) => {
        await sql`
          select domicile.settle(${key}, ${claim}::uuid, ${this.#id}, ${placed.jurisdiction},
            ${placed.rule}, ${visit.policy.version})
            ${edge.receiptOfPlacement(this.c, visit, key, sql)}`;
        return work(sql);
      });
      this.#settled = true;
      if (visit.shared === undefined) this.#ended('applied');
      else visit.shared.afterwards((ending) => this.#ended(ending));
      return value;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { failure } = error;
      if (failure.kind === 'write-outcome-unknown') this.#ended('unknown');
      if (failure.kind === 'conflict' && failure.constraint === 'directory_pkey') {
        const { home } = await edge.homeOf(visit, this.#key);
        visit.home = home;
        throw new Refusal({ kind: 'subject-exists', home });
      }
      throw error;
    }
  }

  #ended(ending: Ending): void {
    const { edge, visit } = this;
    if (this.#claim !== undefined) {
      this.#claim.used = ending === 'applied' ? 'yes' : ending === 'unknown' ? 'unknown' : 'no';
    }
    if (ending !== 'applied') return;
    edge.settled(visit, this.#id);
  }
}

/** Mirrors and reference data of another region, through a login that can see nothing else. */
export class AbroadData implements Data {
  #edge: Edge;
  #c: Ctx;
  #visit: Visit;
  #seen: MirrorSighting;
  #copy: Copy;

  constructor(edge: Edge, c: Ctx, visit: Visit, seen: MirrorSighting, copy: Copy) {
    this.#edge = edge;
    this.#c = c;
    this.#visit = visit;
    this.#seen = seen;
    this.#copy = copy;
  }

  async read<T>(query: (sql: Sql) => Promise<T>): Promise<T> {
    const visit = this.#visit;
    const edge = this.#edge;
    const seen = this.#seen;
    visit.decision = { kind: 'serve', node: seen.node, rung: 'mirror' };
    const startedAtMs = edge.now();
    const value = await this.#unlessWithdrawn(
      edge.database.readAbroad(visit, seen, query, this.#copy.relation, this.#witness),
    );
    visit.timed('sql', edge.now() - startedAtMs);
    visit.stalenessMs = seen.ageMs + (edge.now() - seen.seenAtMs);
    return value;
  }

  #witness = {
    saw: (shown: Seen): void => {
      const { here } = this.#edge;
      const visit = this.#visit;
      // Whether the copy may be shown was asked of the home's floor, and seldom of this region's.
      visit.session = seeThrough(alsoSaw(visit.session, here, shown), this.#copy.home, here);
    },
  };

  write(): Promise<never> {
    return Promise.reject(new Refusal({ kind: 'read-only-route' }));
  }

  /**
   * A copy may be taken away while it is read. Then its rows go too, and what was found is not to
   * be told from what never was: the request is decided anew, without copies.
   */
  async #unlessWithdrawn<T>(reading: Promise<T>): Promise<T> {
    const { name, home } = this.#copy;
    let value: T;
    try {
      value = await reading;
    } catch (error) {
      if (error instanceof CopyWithdrawn) await this.#withdrawn();
      throw error;
    }
    if (!this.#edge.policies.current.serves(name, home)) await this.#withdrawn();
    return value;
  }

  async #withdrawn(): Promise<void> {
    const { req } = this.#c;
    const body = isSafe(req.method) ? undefined : new Uint8Array(await req.arrayBuffer());
    this.#edge.decideAnew(this.#visit, 'copy-withdrawn', body);
  }
}
