/**
 * Which settings of a server let data out, or let a dead peer fill its disk?
 *
 * Logs travel further than tables, so statements, parameters and rows have no business there. A
 * slot without a bound keeps the log for whoever never comes. And a standby that may be anybody is
 * nobody's guarantee.
 */
import type { Sql } from '../../regions/postgres.ts';
import type { ClusterNode } from './audited-world.ts';
import type { Finding } from './finding.ts';

type Rule = { harmless: (value: string) => boolean; because: string; kind?: Finding['kind'] };

const off = (value: string) => value === 'off';
const is = (wanted: string) => (value: string) => value === wanted;

/** By setting; a setting that a server does not have is none that leaks. */
export const RULES: Readonly<Record<string, Rule>> = {
  log_statement: { harmless: is('none'), because: 'statements go to the log' },
  log_min_duration_statement: { harmless: is('-1'), because: 'slow statements go to the log' },
  log_min_duration_sample: { harmless: is('-1'), because: 'some statements go to the log' },
  log_transaction_sample_rate: { harmless: is('0'), because: 'some statements go to the log' },
  log_min_error_statement: {
    harmless: is('panic'),
    because: 'statements that fail go to the log',
  },
  log_error_verbosity: {
    harmless: is('terse'),
    because: 'details of errors, which quote rows, go to the log',
  },
  log_parameter_max_length: { harmless: is('0'), because: 'parameters go to the log' },
  log_parameter_max_length_on_error: {
    harmless: is('0'),
    because: 'parameters of failing statements go to the log',
  },
  debug_print_parse: { harmless: off, because: 'parse trees, with their values, go to the log' },
  debug_print_rewritten: { harmless: off, because: 'queries, with their values, go to the log' },
  debug_print_plan: { harmless: off, because: 'plans, with their values, go to the log' },
  'auto_explain.log_min_duration': {
    harmless: is('-1'),
    because: 'plans, with their values, go to the log',
  },
  archive_mode: {
    harmless: off,
    because: 'the write-ahead log is copied to a place that no audit looks at',
  },
  max_slot_wal_keep_size: {
    harmless: (value) => value !== '-1',
    because: 'a slot may keep the log without bound, so a dead peer fills the disk',
    kind: 'setting-unbounded',
  },
  synchronous_standby_names: {
    harmless: (value) => !namesAnybody(value),
    because: 'any server that calls itself a standby may confirm a commit',
    kind: 'setting-unsafe',
  },
};

/** Whether a star stands where a name should; one in quotes is a name. */
export function namesAnybody(value: string): boolean {
  return value.replace(/"(?:[^"]|"")*"/g, '').includes('*');
}

export type SettingsLook = { findings: Finding[]; looked: number };

/** By a superuser of one server. */
export async function checkSettings(sql: Sql, node: ClusterNode): Promise<SettingsLook> {
  const findings: Finding[] = [];
  const region = node.region.id;
  const add = (name: string, value: string, where: string) => {
    const rule = RULES[name];
    if (rule === undefined || rule.harmless(value)) return;
    findings.push({
      kind: rule.kind ?? 'setting-leaks',
      region,
      at: `${node.name}, ${name}`,
      words: `${node.name}: ${name} is "${value}"${where}: ${rule.because}`,
    });
  };
  const names = Object.keys(RULES);
  // As it would hold for anybody, and not for this session.
  const settings = await sql<{ name: string; value: string }[]>`
    select name, coalesce(reset_val, setting) as value from pg_settings
    where name = any (${sql.array(names)})`;
  for (const { name, value } of settings) add(name, value, '');
  const own = await sql<{ setting: string; role: string | null; database: string | null }[]>`
    select unnest(s.setconfig) as setting, r.rolname as role, d.datname as database
    from pg_db_role_setting s
    left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase`;
  for (const { setting, role, database } of own) {
    const at = setting.indexOf('=');
    const whose = [role === null ? [] : `role ${role}`, database === null ? [] : `in ${database}`];
    add(setting.slice(0, at), setting.slice(at + 1), ` for ${whose.flat().join(' ')}`);
  }
  const subscriptions = await sql<{ name: string; conninfo: string }[]>`
    select subname as name, subconninfo as conninfo from pg_subscription`;
  for (const { name, conninfo } of subscriptions) {
    if (!/(^|\s)password\s*=/.test(conninfo)) continue;
    findings.push({
      kind: 'secret-inline',
      region,
      at: `${node.name}, subscription ${name}`,
      words: `${node.name}: subscription ${name} carries a password in its connection text, which every base backup of that cluster hands over`,
    });
  }
  return { findings, looked: settings.length + own.length + subscriptions.length };
}
