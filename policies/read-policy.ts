/**
 * Which policy does this text state?
 *
 * Either a whole policy that fits the catalogue, or every complaint at once. The caller reads the
 * disk and brings the live schema later, to `checkPolicy`.
 */
import type { Catalogue } from '../regions/catalogue.ts';
import type { Complaint, Source } from '../regions/yaml-complaint.ts';
import { readYaml } from '../regions/yaml-file.ts';
import { checkPolicy } from './check-policy.ts';
import { type Level, readLevel, SESSION } from './consistency.ts';
import { COUNTRIES, isCountry } from './countries.ts';
import type { Condition, Jurisdiction, Mirror, Policy, Rule, Table } from './policy.ts';
import {
  durationMs,
  type MirrorFile,
  PolicyFile,
  RECEIPT_RETENTION_DEFAULT,
  type ReceiptKind,
  type TableFile,
} from './policy-file.ts';

/** Without forward: a read that passes through another region must not cause a write. */
const RECEIPTS_KEPT_BY_DEFAULT: readonly ReceiptKind[] = ['place', 'refuse', 'redirect'];

export type PolicyReading =
  | { policy: Policy }
  | { complaints: readonly [Complaint, ...Complaint[]] };

/** Without a catalogue, whatever can be said without knowing the regions. */
export function readPolicy(
  text: string,
  file: string,
  catalogue: Catalogue | undefined,
): PolicyReading {
  const reading = readYaml(text, file, PolicyFile, (document, source) =>
    checkPolicy(policyFrom(document, source), catalogue === undefined ? {} : { catalogue }),
  );
  return 'ok' in reading ? { policy: policyFrom(reading.ok, reading.source) } : reading;
}

/** Total: a document with faults becomes a policy with the same faults, for the checks to find. */
function policyFrom(document: PolicyFile, source: Source): Policy {
  const { version, because, effective, failover, idempotency, receipts } = document;
  return {
    version,
    because,
    effective,
    attributes: new Map(
      Object.entries(document.attributes ?? {}).map(([name, attribute]) => [
        name,
        { values: attribute.values, default: attribute.default },
      ]),
    ),
    jurisdictions: jurisdictionsFrom(document),
    placement: document.placement.map(ruleFrom),
    tables: new Map(
      Object.entries(document.tables).map(([name, table]) => [name, tableFrom(name, table)]),
    ),
    failover: {
      scope: failover.scope,
      commits: failover.commits ?? 'synchronous',
      possibleLoss: failover.possibleLoss,
      sites: new Map(Object.entries(failover.sites ?? {})),
      betweenSites: failover.betweenSites ?? 'order',
    },
    idempotency: { retentionMs: durationMs(idempotency.retention) ?? 0 },
    consistency: levelFrom(document.consistency),
    receipts: {
      keep: receipts?.keep ?? RECEIPTS_KEPT_BY_DEFAULT,
      retentionMs: durationMs(receipts?.retention ?? RECEIPT_RETENTION_DEFAULT) ?? 0,
    },
    written: { document, source },
  };
}

function levelFrom(text: string | undefined): Level {
  const reading = readLevel(text ?? 'session');
  return reading.kind === 'level' ? reading.level : SESSION;
}

function jurisdictionsFrom({ jurisdictions }: PolicyFile): Map<string, Jurisdiction> {
  const named = new Set(
    Object.values(jurisdictions).flatMap(({ countries }) =>
      countries === 'others' ? [] : countries,
    ),
  );
  return new Map(
    Object.entries(jurisdictions).map(([name, { title, countries, regions, copies }]) => {
      const members =
        countries === 'others'
          ? COUNTRIES.filter((country) => !named.has(country))
          : countries.filter(isCountry);
      const jurisdiction: Jurisdiction = {
        name,
        title: title ?? name,
        countries: new Set(members),
        regions,
        copies: copies ?? [],
      };
      return [name, jurisdiction];
    }),
  );
}

function ruleFrom({ rule, when, home, because }: PolicyFile['placement'][number]): Rule {
  const conditions = when === 'everyone' ? [] : Object.entries(when).flatMap(conditionFrom);
  return { rule, when: conditions, home, because: because ?? inWords(conditions) };
}

function conditionFrom([fact, wanted]: [string, string | string[] | undefined]): Condition[] {
  if (wanted === undefined) return [];
  return [{ fact, oneOf: typeof wanted === 'string' ? [wanted] : wanted }];
}

function inWords(conditions: readonly Condition[]): string {
  if (conditions.length === 0) return 'applies to everyone';
  return conditions.map(({ fact, oneOf }) => `${fact} is ${oneOf.join(' or ')}`).join(', ');
}

function tableFrom(name: string, { subject, transit, mirrors, reference }: TableFile): Table {
  if (reference !== undefined) return { kind: 'reference', name, owner: reference.owner };
  return {
    kind: 'subject',
    name,
    subject: subject ?? '',
    // The stricter of the two, should this ever be read before the checks.
    transit: transit ?? 'redirect',
    mirrors: (mirrors ?? []).map(mirrorFrom),
  };
}

function mirrorFrom({ as, columns, rows, homes, to }: MirrorFile): Mirror {
  return {
    as,
    columns,
    rows: Object.entries(rows ?? {}).map(([column, wanted]) => ({
      column,
      oneOf: Array.isArray(wanted) ? wanted : [wanted],
    })),
    homes,
    to,
  };
}
