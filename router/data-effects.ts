/**
 * What does a plan do to data that is there?
 *
 * Counted, not guessed: rows that a closed mirror leaves abroad until they are erased, rows that an
 * opened one brings there, subjects whose home the policy does not allow any more, and rows that
 * belong to nobody. The last two are for a person to resolve first.
 */
import { ofKind } from '../policies/cluster-state.ts';
import { mirrorSchema, mirrorView, subjectTables } from '../policies/desired-state.ts';
import type { Policy } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { verbatim } from '../regions/postgres.ts';
import { ADOPTED } from './adopt-residents.ts';
import type { WorldView } from './observe-world.ts';
import type { Session } from './operator.ts';

export type Effect =
  /** Rows of a copy that goes. */
  | { kind: 'erases'; cluster: string; what: string; rows: number }
  /** Rows that are to be copied to another region. */
  | { kind: 'copies'; from: RegionId; to: RegionId; what: string; rows: number }
  /** Subjects who live where the policy does not let them. */
  | { kind: 'strands'; home: RegionId; jurisdiction: string; subjects: number }
  /** Rows that no resident of the region owns. */
  | { kind: 'foreign rows'; home: RegionId; table: string; rows: number };

export type Effects = { effects: readonly Effect[]; refusals: readonly string[] };

export async function measureEffects(
  session: Session,
  policy: Policy,
  view: WorldView,
  measure: 'subjects' | 'rows, too',
): Promise<Effects> {
  const { catalogue } = session.operator;
  const stranded = await strandedSubjects(session, policy);
  const { refusals } = stranded;
  const effects = [...stranded.effects];
  if (measure === 'subjects' || view.plan.steps.length === 0) return { effects, refusals };
  for (const { cluster, action } of view.plan.steps) {
    if (action.do !== 'withdraw') continue;
    for (const what of action.what) {
      const rows = await count(session, cluster, `select count(*) from ${what}`);
      effects.push({ kind: 'erases', cluster, what, rows });
    }
  }
  for (const table of subjectTables(policy)) {
    for (const mirror of table.mirrors) {
      for (const to of catalogue.regions.keys()) {
        for (const { home } of newOpenings(view, to, mirror.as)) {
          const query = mirrorView(mirror, [`app.${table.name}`]).query.sql;
          const rows = await count(session, home, `select count(*) from (${query}) rows`);
          effects.push({
            kind: 'copies',
            from: home,
            to,
            what: `${mirrorSchema(home)}.${table.name} (${mirror.columns.join(', ')})`,
            rows,
          });
        }
      }
    }
  }
  for (const home of catalogue.regions.keys()) {
    for (const table of subjectTables(policy)) {
      const query = `select count(*) from app.${table.name} where not domicile.at_home(${table.subject}::text)`;
      const rows = await count(session, home, query);
      if (rows > 0) effects.push({ kind: 'foreign rows', home, table: table.name, rows });
    }
  }
  return { effects, refusals };
}

/** Subjects who live where this policy does not let them. */
export async function strandedSubjects(session: Session, policy: Policy): Promise<Effects> {
  const { catalogue } = session.operator;
  const effects: Effect[] = [];
  const refusals: string[] = [];
  for (const region of catalogue.regions.keys()) {
    for (const { jurisdiction, subjects } of await residents(session, region)) {
      // Nobody recorded their law, so nobody can say that it is broken.
      if (jurisdiction === ADOPTED) continue;
      const law = policy.jurisdictions.get(jurisdiction);
      if (law?.regions.includes(region) === true) continue;
      effects.push({ kind: 'strands', home: region, jurisdiction, subjects });
      const why =
        law === undefined
          ? `the policy knows no jurisdiction ${jurisdiction}`
          : `the policy lets subjects of ${jurisdiction} live in ${law.regions.join(', ')} only`;
      refusals.push(
        `${subjects} ${subjects === 1 ? 'subject' : 'subjects'} of ${jurisdiction} ${subjects === 1 ? 'lives' : 'live'} in ${region}, and ${why}; move them first, or allow ${region} to them`,
      );
    }
  }
  return { effects, refusals };
}

function newOpenings({ wanted, found }: WorldView, to: RegionId, name: string) {
  return ofKind(wanted.get(to), 'opening').filter(
    (opening) =>
      opening.name === name &&
      found.get(to)?.has(`opening of ${name} from ${opening.home}`) !== true,
  );
}

async function residents(session: Session, region: RegionId) {
  return session.on(
    region,
    (sql) => sql<{ jurisdiction: string; subjects: number }[]>`
      select jurisdiction, count(*)::int as subjects from domicile.residents
      group by jurisdiction order by jurisdiction`,
  );
}

async function count(session: Session, cluster: string, query: string): Promise<number> {
  const [row] = await session.on(cluster, (sql) => sql<{ count: string }[]>(verbatim(query)));
  return Number(row?.count ?? 0);
}
