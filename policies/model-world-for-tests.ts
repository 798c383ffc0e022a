/**
 * What would PostgreSQL do with the steps of a plan?
 *
 * A world of catalogues without rows: it reads the statements that a plan contains, changes what
 * they change, takes with a table what goes with it, and refuses what a server would refuse or what
 * would stop a subscription for good. It shares no code with the planner but the names of things.
 */
import type { Catalogue } from '../regions/catalogue.ts';
import { type Of, objectOf, ofKind, type Thing } from './cluster-state.ts';
import type { Step } from './plan.ts';

type State = Map<string, Thing>;

export class ModelWorld {
  readonly catalogue: Catalogue;
  readonly states = new Map<string, State>();
  /** Tables that hold rows which a copy would meet, by cluster and name. */
  readonly filled = new Set<string>();
  /** Changes that were sent and that the reader of a slot may not have seen. */
  readonly unconfirmed = new Set<string>();
  recorded = new Set<string>();
  inForce = new Map<string, number>();
  edgesMayServe = new Set<string>();
  readonly #version: number;

  constructor(catalogue: Catalogue, clusters: Iterable<string>, version: number) {
    this.catalogue = catalogue;
    this.#version = version;
    for (const cluster of clusters) this.states.set(cluster, new Map());
  }

  /** The same world, for a plan to another version. */
  under(version: number): ModelWorld {
    const next = new ModelWorld(this.catalogue, [], version);
    for (const [cluster, state] of this.states) next.states.set(cluster, new Map(state));
    for (const table of this.filled) next.filled.add(table);
    for (const slot of this.unconfirmed) next.unconfirmed.add(slot);
    next.edgesMayServe = new Set(this.edgesMayServe);
    next.inForce = new Map(this.inForce);
    return next;
  }

  of(cluster: string): State {
    const state = this.states.get(cluster);
    if (state === undefined) throw new Error(`no cluster ${cluster}`);
    return state;
  }

  do({ cluster, action }: Step): void {
    switch (action.do) {
      case 'sql':
      case 'lone sql':
        for (const statement of action.statements) this.#run(cluster, statement);
        break;
      case 'create role':
        this.#put(cluster, { kind: 'role', name: action.role, attributes: action.attributes });
        break;
      case 'drop slot': {
        const reader = this.#subscriptionOf(cluster, action.slot);
        if (reader !== undefined) throw new Error(`${action.slot} is read by ${reader.name}`);
        this.of(cluster).delete(`slot ${action.slot}`);
        break;
      }
      case 'await slot': {
        const slot = this.of(cluster).get(`slot ${action.slot}`);
        if (slot === undefined) break;
        const reader = this.#subscriptionOf(cluster, action.slot);
        if (reader === undefined || !reader.options.startsWith('enabled')) {
          throw new Error(`nobody would ever confirm ${action.slot}`);
        }
        for (const sent of this.unconfirmed) {
          if (sent.startsWith(`${cluster} ${action.slot} `)) this.unconfirmed.delete(sent);
        }
        break;
      }
      case 'follow':
        for (const statement of action.empty) this.#run(cluster, statement);
        if (action.create !== undefined) this.#run(cluster, action.create);
        else this.#refresh(cluster, action.subscription);
        break;
      case 'await edges':
        this.edgesMayServe = new Set(this.#open());
        break;
      case 'record version':
        this.recorded.add(cluster);
        break;
      case 'put in force':
        if (this.recorded.size < this.catalogue.regions.size && this.inForce.size === 0) break;
        this.inForce.set(cluster, this.#version);
        break;
      case 'await copies':
      case 'withdraw':
      case 'erase':
        break;
    }
    for (const opening of this.#open()) this.edgesMayServe.add(opening);
  }

  #open(): string[] {
    return [...this.states].flatMap(([cluster, state]) =>
      ofKind(state, 'opening').map(({ name, home }) => `${cluster} ${name} ${home}`),
    );
  }

  #run(cluster: string, statement: string): void {
    for (const [pattern, act] of this.#grammar) {
      const match = pattern.exec(statement);
      if (match === null) continue;
      act.call(this, cluster, ...match.slice(1).map((part) => part ?? ''));
      return;
    }
    throw new Error(`the model does not know: ${statement}`);
  }

  readonly #grammar: readonly [RegExp, (cluster: string, ...parts: string[]) => void][] = [
    [
      /^create schema if not exists (\S+)$/,
      (c, name = '') => this.#put(c, { kind: 'schema', name }),
    ],
    [/^drop schema (\S+)$/, (c, name) => this.#dropSchema(c, name)],
    [
      /^create table if not exists (\S+) \((.*)\) partition by hash \(.+\)$/,
      (c, name = '', columns = '') =>
        this.#createTable(c, { name, columns: columnsOf(columns), primaryKey: [], part: 'parent' }),
    ],
    [
      /^create table if not exists (\S+) partition of (\S+) \(primary key \((.+)\)\) for values .*$/,
      (c, name = '', of = '', key = '') => {
        const whole = this.of(c).get(`table ${of}`);
        if (whole?.kind !== 'table') throw new Error(`no ${of} for ${name} to be a part of`);
        const primaryKey = key.split(', ');
        this.#createTable(c, { name, columns: whole.columns, primaryKey, part: { of } });
      },
    ],
    [
      /^create table if not exists (\S+) \((.*), primary key \((.+)\)\)$/,
      (c, name = '', columns = '', key = '') => {
        const primaryKey = key.split(', ');
        this.#createTable(c, { name, columns: columnsOf(columns), primaryKey, part: undefined });
      },
    ],
    [/^drop table (\S+)$/, (c, name) => this.#dropTable(c, name)],
    [/^truncate (\S+)$/, (c, name) => this.#empty(c, name)],
    [
      /^delete from domicile\.openings where name = '(.+)' and home = '(.+)'$/,
      (c, name, home) => {
        this.of(c).delete(`opening of ${name} from ${home}`);
      },
    ],
    [/^delete from (\S+)(?: where .*)?$/, (c, name) => this.#empty(c, name)],
    [
      /^insert into domicile\.openings \(name, home\) values \('(.+)', '(.+)'\) on conflict do nothing$/,
      (c, name = '', home = '') => this.#put(c, { kind: 'opening', name, home }),
    ],
    [/^drop view if exists (\S+)$/, (c, name) => this.#dropRelation(c, `view ${name}`, name)],
    [/^drop view (\S+)$/, (c, name) => this.#dropRelation(c, `view ${name}`, name)],
    [/^create view (\S+) as (.*)$/, (c, name, query) => this.#createView(c, name, query)],
    [
      /^create publication (\S+) for table (.*) with \(publish = 'insert, update, delete'\)$/,
      (c, name = '', tables = '') => {
        if (this.of(c).has(`publication ${name}`)) throw new Error(`publication ${name} exists`);
        this.#put(c, {
          kind: 'publication',
          name,
          options: 'insert, update, delete; named tables only',
        });
        for (const line of tables.split(/, (?=\w+\.\w+ \()/)) this.#publish(c, name, line);
      },
    ],
    [
      /^drop publication (\S+)$/,
      (c, name) => {
        this.of(c).delete(`publication ${name}`);
        for (const line of ofKind(this.of(c), 'published')) {
          if (line.publication === name) this.#unpublish(c, line);
        }
      },
    ],
    [
      /^alter publication (\S+) add table (.*)$/,
      (c, name = '', line = '') => this.#publish(c, name, line),
    ],
    [
      /^alter publication (\S+) drop table (\S+)$/,
      (c, name, table) => {
        const line = this.of(c).get(`${table} in publication ${name}`);
        if (line?.kind !== 'published') throw new Error(`${table} is not in ${name}`);
        this.#unpublish(c, line);
      },
    ],
    [
      /^alter publication (\S+) set \(publish = 'insert, update, delete', .*\)$/,
      (c, name = '') =>
        this.#put(c, {
          kind: 'publication',
          name,
          options: 'insert, update, delete; named tables only',
        }),
    ],
    [
      /^create subscription (\S+) connection '(.*)' publication (\S+) with \(slot_name = (\w+), (.*)\)$/,
      (c, name = '', connection = '', publication = '', slot = '', options = '') => {
        const from = this.#publisherOf(connection);
        const definition = /failover = true/.test(options)
          ? 'logical pgoutput, failover'
          : 'logical pgoutput';
        if (this.of(from).has(`slot ${slot}`)) throw new Error(`slot ${slot} exists in ${from}`);
        const words = options.replace(/(\w+) = true/g, '$1').replace(/(\w+) = '(\w+)'/g, '$1 $2');
        this.#put(c, {
          kind: 'subscription',
          name,
          connection,
          publications: [publication],
          slot,
          options: `enabled, ${words}`,
        });
        this.#put(from, { kind: 'slot', name: slot, replica: undefined, definition });
        this.#refresh(c, name);
      },
    ],
    [
      /^alter subscription (\S+) disable$/,
      (c, name) => this.#setOptions(c, name, (one) => one.replace(/^enabled/, 'disabled')),
    ],
    [
      /^alter subscription (\S+) enable$/,
      (c, name) => this.#setOptions(c, name, (one) => one.replace(/^disabled/, 'enabled')),
    ],
    [
      /^alter subscription (\S+) set \(synchronous_commit = (\w+)\)$/,
      (c, name, value) =>
        this.#setOptions(c, name, (one) =>
          one.replace(/synchronous_commit \w+/, `synchronous_commit ${value}`),
        ),
    ],
    [
      /^alter subscription (\S+) connection '(.*)'$/,
      (c, name, connection = '') => {
        const found = this.#subscription(c, name);
        this.#put(c, { ...found, connection });
      },
    ],
    [
      /^alter subscription (\S+) set \(slot_name = none\)$/,
      (c, name) => {
        const found = this.#subscription(c, name);
        if (found.options.startsWith('enabled')) throw new Error(`${name} is enabled`);
        this.#put(c, { ...found, slot: 'none' });
      },
    ],
    [
      /^drop subscription (\S+)$/,
      (c, name) => {
        const found = this.#subscription(c, name);
        if (found.slot !== 'none') throw new Error(`${name} still has ${found.slot}`);
        this.of(c).delete(objectOf(found));
        for (const followed of ofKind(this.of(c), 'followed')) {
          if (followed.subscription === name) this.of(c).delete(objectOf(followed));
        }
      },
    ],
    [
      /^alter table (\S+) replica identity default$/,
      (c, table = '') => this.#put(c, { kind: 'identity', table, columns: 'primary key' }),
    ],
    [/^do \$\$/, () => {}],
    [
      /^create unique index concurrently if not exists \S+ on (\S+) \((.*)\)$/,
      (_c, table = '', columns = '') => {
        this.#index = { table, columns: columns.split(', ') };
      },
    ],
    [
      /^alter table (\S+) replica identity using index \S+$/,
      (c, table = '') => {
        if (this.#index.table !== table) throw new Error(`no index for ${table}`);
        this.#put(c, { kind: 'identity', table, columns: this.#index.columns });
      },
    ],
    [
      /^alter table (\S+) drop constraint (\S+)$/,
      (c, table, name) => {
        this.of(c).delete(`constraint ${name} on ${table}`);
      },
    ],
    [
      /^alter table (\S+) add constraint (\S+) check \((.*)\) not valid$/,
      (c, table = '', name = '', sql = '') =>
        this.#put(c, { kind: 'constraint', table, name, check: { sql }, enforced: true }),
    ],
    [
      /^alter table (\S+) (enable|disable) row level security, (force|no force) row level security$/,
      (c, table = '', enable, force) =>
        this.#put(c, {
          kind: 'row security',
          table,
          enabled: enable === 'enable',
          forced: force === 'force',
        }),
    ],
    [
      /^drop policy (\S+) on (\S+)$/,
      (c, name, table) => {
        this.of(c).delete(`row policy ${name} on ${table}`);
      },
    ],
    [
      /^create policy (\S+) on (\S+) using \((.*)\) with check \((.*)\)$/,
      (c, name = '', table = '', using = '', check = '') =>
        this.#put(c, {
          kind: 'row policy',
          table,
          name,
          using: { sql: using },
          check: { sql: check },
          scope: 'permissive, all commands, public',
        }),
    ],
    [
      /^grant (\S+) on (.+) to (\S+)$/,
      (c, privilege = '', on = '', to = '') => {
        const [, relation] = /^table (\S+)$/.exec(on) ?? [];
        const app = relation?.startsWith('domicile.');
        if (relation !== undefined && app !== true && !this.#hasRelation(c, relation)) {
          throw new Error(`${c}: no ${relation} to grant on`);
        }
        this.#put(c, { kind: 'grant', privilege, on, to });
      },
    ],
    [
      /^revoke (\S+) \((\S+)\) on table (\S+) from (\S+) cascade$/,
      (c, privilege, column, table, from) => {
        this.of(c).delete(`grant of ${privilege} on column ${column} of ${table} to ${from}`);
      },
    ],
    [
      /^revoke (\S+) on (.+) from (\S+) cascade$/,
      (c, privilege, on, from) => {
        this.of(c).delete(`grant of ${privilege} on ${on} to ${from}`);
      },
    ],
    [
      /^revoke (\S+) from (\S+) cascade$/,
      (c, of, role) => {
        this.of(c).delete(`membership of ${role} in ${of}`);
      },
    ],
    [
      /^grant (\S+) to (\S+)$/,
      (c, of = '', role = '') => this.#put(c, { kind: 'membership', role, of }),
    ],
    [
      /^alter role (\S+) nosuperuser noreplication nobypassrls nocreaterole$/,
      (c, name) => {
        this.of(c).delete(`role ${name}`);
      },
    ],
    [
      /^alter role (\S+) in database (\S+) set (\S+) = (.*)$/,
      (c, role = '', _database, name = '', value = '') =>
        this.#put(c, { kind: 'setting', role, name, value }),
    ],
    [
      /^alter role (\S+) (?:in database (?:\S+) )?reset (\S+)$/,
      (c, role, name) => {
        this.of(c).delete(`setting ${name} of ${role}`);
      },
    ],
    [
      /^alter role (\S+) ((?:no)?login .*)$/,
      (c, name = '', words = '') => {
        const attributes = words.split(' ').filter((word) => !word.startsWith('no'));
        this.#put(c, { kind: 'role', name, attributes });
      },
    ],
  ];
  #index = { table: '', columns: [''] };

  #put(cluster: string, thing: Thing): void {
    this.of(cluster).set(objectOf(thing), thing);
  }

  #hasRelation(cluster: string, name: string): boolean {
    const state = this.of(cluster);
    return state.has(`table ${name}`) || state.has(`view ${name}`);
  }

  #createTable(cluster: string, table: Omit<Of<'table'>, 'kind'>): void {
    const [schema] = table.name.split('.');
    if (!this.of(cluster).has(`schema ${schema}`))
      throw new Error(`${cluster}: no schema ${schema}`);
    if (this.of(cluster).has(`table ${table.name}`)) return;
    this.#put(cluster, { kind: 'table', ...table });
    // Peers publish nothing of what arrived, so nobody looks at its identity there.
    if (table.part !== 'parent' && !this.catalogue.regions.has(cluster)) {
      this.#put(cluster, { kind: 'identity', table: table.name, columns: 'primary key' });
    }
  }

  #dropTable(cluster: string, name = ''): void {
    const state = this.of(cluster);
    const table = state.get(`table ${name}`);
    if (table === undefined) throw new Error(`${cluster}: no table ${name}`);
    for (const view of ofKind(state, 'view')) {
      if (sources(view).includes(name)) throw new Error(`${cluster}: ${view.name} shows ${name}`);
    }
    for (const followed of ofKind(state, 'followed')) {
      if (followed.table !== name) continue;
      throw new Error(`${cluster}: ${name} is followed and would be missing to what still comes`);
    }
    const coming = [...this.unconfirmed].find((slot) => this.#reaches(slot, cluster, name));
    if (coming !== undefined) throw new Error(`${cluster}: changes of ${name} may still come`);
    for (const part of ofKind(state, 'table')) {
      if (typeof part.part === 'object' && part.part.of === name)
        this.#dropTable(cluster, part.name);
    }
    this.filled.delete(`${cluster} ${name}`);
    state.delete(`replica identity of ${name}`);
    for (const line of ofKind(state, 'published')) {
      if (line.table === name) this.#unpublish(cluster, line);
    }
    this.#dropRelation(cluster, `table ${name}`, name);
  }

  /** Whether changes behind a slot go to a table of a cluster. */
  #reaches(unconfirmed: string, cluster: string, table: string): boolean {
    const [from = '', slot = '', changed] = unconfirmed.split(' ');
    const subscription = ofKind(this.of(cluster), 'subscription').find((one) => one.slot === slot);
    return (
      subscription !== undefined &&
      this.#publisherOf(subscription.connection) === from &&
      changed === table
    );
  }

  #dropSchema(cluster: string, name = ''): void {
    const left = ofKind(this.of(cluster), 'table').find((one) => one.name.startsWith(`${name}.`));
    if (left !== undefined) throw new Error(`${cluster}: ${left.name} is in schema ${name}`);
    this.of(cluster).delete(`schema ${name}`);
    for (const grant of ofKind(this.of(cluster), 'grant')) {
      if (grant.on === `schema ${name}`) this.of(cluster).delete(objectOf(grant));
    }
  }

  #dropRelation(cluster: string, object: string, name = ''): void {
    this.of(cluster).delete(object);
    for (const grant of ofKind(this.of(cluster), 'grant')) {
      if (grant.on === `table ${name}` || grant.on.endsWith(` of ${name}`)) {
        this.of(cluster).delete(objectOf(grant));
      }
    }
  }

  #createView(cluster: string, name = '', sql = ''): void {
    if (this.of(cluster).has(`view ${name}`)) throw new Error(`${cluster}: view ${name} exists`);
    const [, list = ''] = /^select (.*?) from /.exec(sql) ?? [];
    const view: Of<'view'> = { kind: 'view', name, query: { sql }, columns: list.split(', ') };
    for (const source of sources(view)) {
      const table = this.of(cluster).get(`table ${source}`);
      if (table?.kind !== 'table') throw new Error(`${cluster}: no ${source} for ${name}`);
      const has = new Set(table.columns.map((column) => column.name));
      const lacks = view.columns.find((column) => !has.has(column));
      if (lacks !== undefined) throw new Error(`${cluster}: ${source} has no ${lacks}`);
    }
    this.#put(cluster, view);
  }

  #publish(cluster: string, publication: string, text: string): void {
    const [, table = '', list = '', , sql] =
      /^(\S+) \(([^)]*)\)( where \((.*)\))?$/.exec(text) ?? [];
    if (!this.of(cluster).has(`publication ${publication}`)) throw new Error(`no ${publication}`);
    const columns = list.split(', ');
    const line: Of<'published'> = {
      kind: 'published',
      publication,
      table,
      columns,
      where: sql === undefined ? undefined : { sql },
    };
    if (this.of(cluster).has(objectOf(line))) throw new Error(`${table} is in ${publication}`);
    if (!table.startsWith('domicile.')) {
      if (!this.of(cluster).has(`table ${table}`)) throw new Error(`${cluster}: no ${table}`);
      // What an update carries must be published, and enough for the filter to judge it.
      const identity = this.of(cluster).get(`replica identity of ${table}`);
      const carries = identity?.kind === 'identity' ? identity.columns : 'other';
      if (carries === 'other') throw new Error(`${cluster}: ${table} has no identity that fits`);
      const unpublished =
        carries === 'primary key' ? [] : carries.filter((one) => !columns.includes(one));
      if (unpublished.length > 0) {
        throw new Error(`${cluster}: ${table} would not publish ${unpublished.join(', ')}`);
      }
      for (const [, column = ''] of (sql ?? '').matchAll(/(\w+) in \(/g)) {
        if (carries !== 'primary key' && carries.includes(column)) continue;
        const shape = this.of(cluster).get(`table ${table}`);
        if (shape?.kind === 'table' && shape.primaryKey.includes(column)) continue;
        throw new Error(`${cluster}: an update of ${table} does not carry ${column}`);
      }
    }
    this.#put(cluster, line);
  }

  #unpublish(cluster: string, line: Of<'published'>): void {
    this.of(cluster).delete(objectOf(line));
    for (const [other, state] of this.states) {
      for (const { publications, slot, connection } of ofKind(state, 'subscription')) {
        if (!publications.includes(line.publication)) continue;
        if (this.#publisherOf(connection) !== cluster || slot === 'none') continue;
        if (other !== cluster) this.unconfirmed.add(`${cluster} ${slot} ${line.table}`);
      }
    }
  }

  #refresh(cluster: string, name: string): void {
    const { connection, publications } = this.#subscription(cluster, name);
    const from = this.#publisherOf(connection);
    const published = new Set(
      ofKind(this.of(from), 'published')
        .filter(({ publication }) => publications.includes(publication))
        .map(({ table }) => table),
    );
    for (const followed of ofKind(this.of(cluster), 'followed')) {
      if (followed.subscription !== name) continue;
      if (!published.delete(followed.table)) this.of(cluster).delete(objectOf(followed));
    }
    for (const table of published) {
      if (!table.startsWith('domicile.') && !this.of(cluster).has(`table ${table}`)) {
        throw new Error(`${cluster}: ${table} is sent and has no table`);
      }
      const at = table.startsWith('domicile.')
        ? `${cluster} ${table} ${name}`
        : `${cluster} ${table}`;
      if (this.filled.has(at)) throw new Error(`${cluster}: the copy meets rows of ${table}`);
      this.filled.add(at);
      this.#put(cluster, { kind: 'followed', subscription: name, table });
    }
  }

  #empty(cluster: string, table = ''): void {
    for (const at of this.filled) {
      const [where, name] = at.split(' ');
      if (where === cluster && name === table) this.filled.delete(at);
    }
  }

  #setOptions(cluster: string, name: string | undefined, change: (one: string) => string): void {
    const found = this.#subscription(cluster, name);
    this.#put(cluster, { ...found, options: change(found.options) });
  }

  #subscription(cluster: string, name = ''): Of<'subscription'> {
    const found = this.of(cluster).get(`subscription ${name}`);
    if (found?.kind !== 'subscription') throw new Error(`${cluster}: no subscription ${name}`);
    return found;
  }

  /** Connections of the model are named by what they lead to. */
  #publisherOf(connection: string): string {
    return connection.replace(/^to /, '');
  }

  #subscriptionOf(publisher: string, slot: string): Of<'subscription'> | undefined {
    return [...this.states.values()]
      .flatMap((state) => ofKind(state, 'subscription'))
      .find((one) => one.slot === slot && this.#publisherOf(one.connection) === publisher);
  }
}

function columnsOf(text: string) {
  return text.split(', ').map((column) => {
    const [, name = '', type = '', notNull] = /^(\S+) (.*?)( not null)?$/.exec(column) ?? [];
    return { name, type, notNull: notNull !== undefined };
  });
}

function sources({ query }: Of<'view'>): string[] {
  return [...query.sql.matchAll(/ from (\S+)/g)].map(([, source = '']) => source);
}
