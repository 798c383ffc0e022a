/**
 * Who was at home here before anybody wrote it down?
 *
 * Regions that were set up before `domicile.residents` existed have rows of subjects whom the
 * directory knows by keyed hash only. Whoever's hash is in this region's directory is entered as a
 * resident; everybody else's rows are left for the plan and the audit to name.
 */
import type { Policy } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';
import type { Sql } from '../regions/postgres.ts';

/** In place of law and rule, which nobody recorded then. */
export const ADOPTED = 'adopted';

/** Subjects in one round: two statements, and a few megabytes. */
const BATCH = 10_000;

export type Adoption = {
  adopted: number;
  /** Subjects with rows here whom this region's directory does not have. */
  strangers: number;
};

/**
 * Runs as a superuser on the primary, in a region that serves nobody yet, and can be repeated.
 * `keyOf` is the directory's keyed hash.
 */
export async function adoptResidents(
  sql: Sql,
  policy: Policy,
  here: RegionId,
  keyOf: (subject: string) => Buffer,
): Promise<Adoption> {
  const adoption: Adoption = { adopted: 0, strangers: 0 };
  for (const table of policy.tables.values()) {
    if (table.kind === 'reference') continue;
    // A table or column that the policy has and the database not is complained about elsewhere.
    const [found] = await sql`
      select from pg_attribute
      where attrelid = to_regclass(${`app.${table.name}`}) and attname = ${table.subject}`;
    if (found === undefined) continue;
    for (let after: string | undefined = ''; after !== undefined; ) {
      const rows: { subject: string }[] = await sql`
        select distinct t.subject from (
          select ${sql(table.subject)}::text as subject
          from app.${sql(table.name)}
        ) as t
        left join domicile.residents r using (subject)
        where r.subject is null and t.subject > ${after}
        order by 1 limit ${BATCH}`;
      after = rows.at(-1)?.subject;
      const subjects = rows.map(({ subject }) => subject);
      const keys = subjects.map((subject) => keyOf(subject).toString('hex'));
      const settled = await sql`
        insert into domicile.residents (subject, key, jurisdiction, rule, policy_version)
        select a.subject, d.key, ${ADOPTED}, ${ADOPTED}, 0
        from unnest(${sql.array(subjects)}::text[], ${sql.array(keys)}::text[]) as a (subject, key)
        join domicile.directory d on d.key = decode(a.key, 'hex') and d.home = ${here}
        on conflict do nothing
        returning subject`;
      adoption.adopted += settled.length;
      adoption.strangers += subjects.length - settled.length;
    }
  }
  return adoption;
}
