/**
 * What does a cluster hold that bears on residency?
 *
 * One form for what is wanted and for what was seen, so that the two can be compared object by
 * object. Every object has a name that stays the same whatever becomes of it, and a definition in
 * words; two objects of one name with different definitions are a change.
 */
import type { RegionId } from '../regions/catalogue.ts';

/** A region's private cluster goes by the region's id, an airlock by its own name. */
export type ClusterName = string;

export type Column = { name: string; type: string; notNull: boolean };
/** A table as the database has it; names in SQL, such as `app.users`, are always without quotes. */
export type TableShape = { columns: readonly Column[]; primaryKey: readonly string[] };
export type Shapes = ReadonlyMap<string, TableShape>;

/** SQL in the words of its author, and as PostgreSQL repeats it. Only the latter is compared. */
export type Expression = {
  sql: string;
  /** Missing until a server was asked. */
  normal?: string;
};

export type Thing =
  | {
      kind: 'role';
      name: string;
      /** Such as `login`, `replication`, `superuser`; what is not listed the role must not be. */
      attributes: readonly string[];
    }
  | { kind: 'membership'; role: string; of: string }
  /** Of a role, in the app's database or everywhere. */
  | { kind: 'setting'; role: string; name: string; value: string }
  | { kind: 'schema'; name: string }
  | {
      kind: 'table';
      name: string;
      columns: readonly Column[];
      primaryKey: readonly string[];
      /** An airlock's table that arrives as one name and leaves as another. */
      part: { of: string } | 'parent' | undefined;
    }
  /** What an update or delete carries: the primary key, or the columns of a unique index. */
  | { kind: 'identity'; table: string; columns: readonly string[] | 'primary key' | 'other' }
  | { kind: 'constraint'; table: string; name: string; check: Expression; enforced: boolean }
  | { kind: 'row security'; table: string; enabled: boolean; forced: boolean }
  | {
      kind: 'row policy';
      table: string;
      name: string;
      using: Expression;
      check: Expression;
      /** Command, roles and whether it widens or narrows, in words. */
      scope: string;
    }
  | { kind: 'view'; name: string; query: Expression; columns: readonly string[] }
  | { kind: 'publication'; name: string; options: string }
  | {
      kind: 'published';
      publication: string;
      table: string;
      /** Undefined: all of them, which is never wanted. */
      columns: readonly string[] | undefined;
      where: Expression | undefined;
    }
  | {
      kind: 'subscription';
      name: string;
      connection: string;
      publications: readonly string[];
      slot: string;
      options: string;
    }
  /** A table that a subscription fills and follows. */
  | { kind: 'followed'; subscription: string; table: string }
  /** A replica can have slots that its primary knows nothing of. */
  | { kind: 'slot'; name: string; replica: string | undefined; definition: string }
  | { kind: 'grant'; privilege: string; on: string; to: string }
  /** What edges may read here of another home's rows. */
  | { kind: 'opening'; name: string; home: RegionId };

export type Kind = Thing['kind'];
export type Of<K extends Kind> = Extract<Thing, { kind: K }>;

/** By `objectOf`. */
export type ClusterState = ReadonlyMap<string, Thing>;
export type States = ReadonlyMap<ClusterName, ClusterState>;

export const PUBLICATION_OPTIONS = 'insert, update, delete; named tables only';
export const ROW_POLICY_SCOPE = 'permissive, all commands, public';

/** The stable name of an object, in words. */
export function objectOf(thing: Thing): string {
  switch (thing.kind) {
    case 'role':
    case 'schema':
    case 'table':
    case 'view':
    case 'publication':
    case 'subscription':
      return `${thing.kind} ${thing.name}`;
    case 'membership':
      return `membership of ${thing.role} in ${thing.of}`;
    case 'setting':
      return `setting ${thing.name} of ${thing.role}`;
    case 'identity':
      return `replica identity of ${thing.table}`;
    case 'constraint':
      return `constraint ${thing.name} on ${thing.table}`;
    case 'row security':
      return `row security of ${thing.table}`;
    case 'row policy':
      return `row policy ${thing.name} on ${thing.table}`;
    case 'published':
      return `${thing.table} in publication ${thing.publication}`;
    case 'followed':
      return `${thing.table} in subscription ${thing.subscription}`;
    case 'slot':
      return `slot ${thing.name}${thing.replica === undefined ? '' : ` on ${thing.replica}`}`;
    case 'grant':
      return `grant of ${thing.privilege} on ${thing.on} to ${thing.to}`;
    case 'opening':
      return `opening of ${thing.name} from ${thing.home}`;
  }
}

/** What is compared, in words that a person can compare, too. */
export function definitionOf(thing: Thing): string {
  switch (thing.kind) {
    case 'role':
      return [...thing.attributes].sort().join(' ') || 'plain';
    case 'setting':
      return thing.value;
    case 'table': {
      const columns = thing.columns.map(columnText).join(', ');
      const part =
        thing.part === undefined
          ? ''
          : thing.part === 'parent'
            ? ', partitioned'
            : `, part of ${thing.part.of}`;
      return `(${columns}) key (${thing.primaryKey.join(', ')})${part}`;
    }
    case 'identity':
      return typeof thing.columns === 'string' ? thing.columns : thing.columns.join(', ');
    case 'constraint':
      return `check ${normalText(thing.check)}${thing.enforced ? '' : ', not enforced'}`;
    case 'row security':
      return `${thing.enabled ? 'enabled' : 'disabled'}, ${thing.forced ? 'forced' : 'not forced'}`;
    case 'row policy':
      return `${thing.scope}: using ${normalText(thing.using)}, check ${normalText(thing.check)}`;
    case 'view':
      return normalText(thing.query);
    case 'publication':
      return thing.options;
    case 'published': {
      const columns = thing.columns === undefined ? 'all columns' : thing.columns.join(', ');
      return `(${columns}) where ${thing.where === undefined ? 'any' : normalText(thing.where)}`;
    }
    case 'subscription':
      return `${thing.publications.join(', ')} through slot ${thing.slot}; ${thing.options}; ${thing.connection}`;
    case 'slot':
      return thing.definition;
    case 'membership':
    case 'schema':
    case 'followed':
    case 'grant':
    case 'opening':
      return 'exists';
  }
}

const PASSWORD = /\bpassword=('(?:[^'\\]|\\.)*'|[^\s']+)/g;

/** For whoever is shown a connection, or the statement that makes one. */
export function withoutPasswords(text: string): string {
  return text.replaceAll(PASSWORD, 'password=…');
}

/** All on one line, because a server breaks lines where it likes. */
export function normalText({ sql, normal }: Expression): string {
  return (normal ?? sql).replaceAll(/\s+/g, ' ').trim();
}

export function stateOf(things: Iterable<Thing>): Map<string, Thing> {
  const state = new Map<string, Thing>();
  for (const thing of things) state.set(objectOf(thing), thing);
  return state;
}

export function ofKind<K extends Kind>(state: ClusterState | undefined, kind: K): Of<K>[] {
  const isOfKind = (thing: Thing): thing is Of<K> => thing.kind === kind;
  return [...(state?.values() ?? [])].filter(isOfKind);
}

/** One object of one cluster that is not as it should be. */
export type Difference = {
  cluster: ClusterName;
  /** `objectOf` it. */
  object: string;
  /** Its definition as seen; undefined: it is not there. */
  found: string | undefined;
  /** Undefined: it should not be there. */
  wanted: string | undefined;
  /** The whole in a sentence. */
  words: string;
};

/** In the order of the wanted clusters; within one, by object. */
export function compareStates(wanted: States, found: States): Difference[] {
  return [...wanted].flatMap(([cluster, state]) =>
    compareCluster(cluster, state, found.get(cluster) ?? new Map()),
  );
}

function compareCluster(
  cluster: ClusterName,
  wanted: ClusterState,
  found: ClusterState,
): Difference[] {
  const objects = [...new Set([...wanted.keys(), ...found.keys()])].sort();
  return objects.flatMap((object) => {
    const want = wanted.get(object);
    const have = found.get(object);
    if (have && want && definitionOf(have) === definitionOf(want)) return [];
    const definitions = {
      found: have && withoutPasswords(definitionOf(have)),
      wanted: want && withoutPasswords(definitionOf(want)),
    };
    return [{ cluster, object, ...definitions, words: inWords(cluster, object, definitions) }];
  });
}

function inWords(
  cluster: ClusterName,
  object: string,
  { found, wanted }: { found: string | undefined; wanted: string | undefined },
): string {
  if (found === undefined) {
    return `${cluster}: ${object} is missing${wanted === 'exists' ? '' : `; wanted: ${wanted}`}`;
  }
  if (wanted === undefined) {
    return `${cluster}: ${object} should not be there${found === 'exists' ? '' : `; found: ${found}`}`;
  }
  if (found === wanted) return `${cluster}: ${object} has another password than it should`;
  return `${cluster}: ${object} differs; found: ${found}; wanted: ${wanted}`;
}

function columnText({ name, type, notNull }: Column): string {
  return `${name} ${type}${notNull ? ' not null' : ''}`;
}
