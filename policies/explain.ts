/**
 * Where would this subject go, where may each of its columns be, and which line says so?
 *
 * The answers are the policy's own, for people to read and for tests to compare with what the
 * databases really hold. Whether a copy has arrived anywhere is not known here.
 */
import type { RegionId } from '../regions/catalogue.ts';
import { type Path, pathText } from '../regions/yaml-complaint.ts';
import type { DatabaseSchema } from './database-schema.ts';
import { type Attributes, type Placement, placeSubject } from './placement.ts';
import {
  type ColumnName,
  failoverRegions,
  type Policy,
  type RowCondition,
  type SubjectTable,
  type TableName,
} from './policy.ts';

export type Question = {
  table: TableName;
  /** Or `EVERY_OTHER_COLUMN`. */
  column: ColumnName;
  /** The home of the subject that the row belongs to. Reference data has none: any will do. */
  home: RegionId;
  region: RegionId;
};

/** `says` is the key of the policy file that decides, such as `tables.users.mirrors[0]`. */
export type Whereabouts =
  | { kind: 'allowed'; as: 'home' | 'failover' | 'reference'; says: string }
  | {
      kind: 'allowed';
      as: 'mirror';
      mirror: TableName;
      /** The copy holds only rows that satisfy all of these. */
      rows: readonly RowCondition[];
      says: string;
    }
  | { kind: 'refused'; because: Keeps; says: string };

/** Why a column may not be somewhere, from the most general reason to the most particular. */
export type Keeps =
  | 'unnamed-table'
  | 'never-mirrored'
  | 'not-from-this-home'
  | 'not-to-this-region'
  | 'column-not-mirrored';

/** Stands for all columns that the policy does not name. */
export const EVERY_OTHER_COLUMN = '*';

export type Explanation = {
  placement: Placement;
  /** Empty when the subject was refused: then its data may be nowhere. */
  columns: readonly ColumnExplanation[];
};

export type ColumnExplanation = {
  table: TableName;
  column: ColumnName;
  at: readonly { region: RegionId; answer: Whereabouts }[];
};

export function explainSubject(
  policy: Policy,
  attributes: Attributes,
  { regions, schema }: { regions: Iterable<RegionId>; schema?: DatabaseSchema },
): Explanation {
  const placement = placeSubject(policy, attributes);
  if (placement.kind === 'refused') return { placement, columns: [] };
  const { home } = placement;
  const everywhere = [...regions];
  const columns: ColumnExplanation[] = [];
  for (const table of policy.tables.keys()) {
    for (const column of columnsOf(policy, table, schema)) {
      const at = everywhere.map((region) => ({
        region,
        answer: mayBeAt(policy, { table, column, home, region }),
      }));
      columns.push({ table, column, at });
    }
  }
  return { placement, columns };
}

export function mayBeAt(policy: Policy, { table, column, home, region }: Question): Whereabouts {
  const found = policy.tables.get(table);
  const path = ['tables', table];
  if (found === undefined) return refused('unnamed-table', ['tables']);
  if (found.kind === 'reference') {
    return { kind: 'allowed', as: 'reference', says: pathText([...path, 'reference']) };
  }
  if (region === home) {
    return { kind: 'allowed', as: 'home', says: pathText([...path, 'subject']) };
  }
  if (failoverRegions(policy, home).includes(region)) {
    return { kind: 'allowed', as: 'failover', says: pathText(['failover', 'scope']) };
  }
  return abroad(found, column, home, region);
}

function abroad(
  { name, mirrors }: SubjectTable,
  column: ColumnName,
  home: RegionId,
  region: RegionId,
): Whereabouts {
  const path = ['tables', name];
  if (mirrors.length === 0) return refused('never-mirrored', path);
  const leaving = mirrors.filter(({ homes }) => homes.includes(home));
  if (leaving.length === 0) return refused('not-from-this-home', [...path, 'mirrors']);
  // Checked policies have one way from a home to a region at most, so the first is the only one.
  const mirror = leaving.find(({ to }) => to.includes(region));
  if (mirror === undefined) return refused('not-to-this-region', [...path, 'mirrors']);
  const here = [...path, 'mirrors', mirrors.indexOf(mirror)];
  if (!mirror.columns.includes(column)) return refused('column-not-mirrored', [...here, 'columns']);
  const { as, rows } = mirror;
  return { kind: 'allowed', as: 'mirror', mirror: as, rows, says: pathText(here) };
}

function refused(because: Keeps, says: Path): Whereabouts {
  return { kind: 'refused', because, says: pathText(says) };
}

/** What the database has, or else what the policy names and a star for the rest. */
function columnsOf(
  policy: Policy,
  name: TableName,
  schema: DatabaseSchema | undefined,
): ReadonlySet<ColumnName> {
  const known = schema?.tables.get(name);
  if (known !== undefined) return new Set(known.columns.map((column) => column.name));
  const table = policy.tables.get(name);
  if (table?.kind !== 'subject') return new Set([EVERY_OTHER_COLUMN]);
  const mirrored = table.mirrors.flatMap(({ columns }) => columns);
  return new Set([table.subject, ...mirrored, EVERY_OTHER_COLUMN]);
}
