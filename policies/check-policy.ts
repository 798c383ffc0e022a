/**
 * Does this policy hold together, and does it fit these regions and this database?
 *
 * Each check adds what it finds; none stops the others. Without a catalogue or a schema the checks
 * that need them are left out, so one function serves the editor, `policy check` and `plan`.
 */
import { type Catalogue, type RegionId, sitesOf } from '../regions/catalogue.ts';
import { appearance } from '../regions/look-alikes.ts';
import {
  type Complaint,
  complaintAt,
  inFileOrder,
  type Path,
  quote,
  type Remark,
} from '../regions/yaml-complaint.ts';
import { nearest } from '../regions/yaml-suggestion.ts';
import { checkSchema } from './check-schema.ts';
import { COUNTRIES, type CountryCode, isCountry, suggestCountry } from './countries.ts';
import { type Case, type Coverage, walkCases } from './coverage.ts';
import type { DatabaseSchema } from './database-schema.ts';
import { failoverRegions, type Mirror, type Policy, type TableName, waysOut } from './policy.ts';
import { durationMs, type MirrorFile, type TableFile } from './policy-file.ts';

/** A retry that comes later than a minute is ordinary, so less would promise nothing. */
export const RETENTION_MS_MIN = 60_000;
/** A stored answer is personal data. Past a month it is an archive that nobody asked for. */
export const RETENTION_MS_MAX = 31 * 86_400_000;
/** Receipts that are gone before anybody can look are none. */
export const RECEIPT_RETENTION_MS_MIN = 86_400_000;
/** Keyed hashes are pseudonyms, and ten years is the longest that books are kept in most laws. */
export const RECEIPT_RETENTION_MS_MAX = 3_653 * 86_400_000;
/** Enough to recognise the mistake; the rest is a number. */
const NAMED_MAX = 5;

/** A primary and two standbys, of which one may be away. */
const QUORUM_NODES_MIN = 3;

export type CheckAgainst = { catalogue?: Catalogue; schema?: DatabaseSchema };

export function checkPolicy(policy: Policy, { catalogue, schema }: CheckAgainst = {}): Complaint[] {
  const check = new Check(policy, catalogue);
  check.attributes();
  check.jurisdictions();
  const coverage = check.placement();
  check.tables(coverage);
  check.failover();
  check.idempotency();
  check.receipts();
  const against = schema === undefined ? [] : checkSchema(policy, schema);
  return inFileOrder([...check.complaints, ...against]);
}

const BUILT_IN_FACTS = ['country', 'jurisdiction'];

class Check {
  readonly complaints: Complaint[] = [];
  readonly #policy: Policy;
  /** Undefined: nobody said which regions exist. */
  readonly #regions: Catalogue['regions'] | undefined;

  constructor(policy: Policy, catalogue: Catalogue | undefined) {
    this.#policy = policy;
    this.#regions = catalogue?.regions;
  }

  attributes(): void {
    for (const [name, { values, default: assumed }] of Object.entries(
      this.#file.attributes ?? {},
    )) {
      const path = ['attributes', name];
      if (BUILT_IN_FACTS.includes(name)) {
        this.#say(path, { message: 'every subject has this already', at: 'key' });
      }
      this.#unique([...path, 'values'], values);
      const seen = new Map<string, string>();
      values.forEach((value, index) => {
        const first = seen.get(appearance(value));
        if (first === undefined) seen.set(appearance(value), value);
        else if (first !== value) {
          const message = `${quote(value)} cannot be told from ${quote(first)} by eye`;
          this.#say([...path, 'values', index], { message });
        }
      });
      if (assumed !== undefined && !values.includes(assumed)) {
        this.#say([...path, 'default'], {
          message: `${quote(assumed)} is not among the values`,
          suggestion: nearest(assumed, values),
        });
      }
    }
  }

  jurisdictions(): void {
    const written = Object.entries(this.#file.jurisdictions);
    if (written.length === 0) this.#say(['jurisdictions'], { message: EMPTY, at: 'key' });
    const owner = new Map<CountryCode, string>();
    let others: string | undefined;
    for (const [name, { countries, regions, copies = [] }] of written) {
      const path = ['jurisdictions', name];
      this.#regionList([...path, 'regions'], regions);
      this.#regionList([...path, 'copies'], copies);
      copies.forEach((region, index) => {
        if (!regions.includes(region)) return;
        this.#say([...path, 'copies', index], {
          message: `${region} is among the regions already`,
        });
      });
      if (countries === 'others') {
        if (others === undefined) others = name;
        else {
          const message = `${others} has the others already; only one jurisdiction can`;
          this.#say([...path, 'countries'], { message });
        }
        continue;
      }
      countries.forEach((country, index) => {
        const at = [...path, 'countries', index];
        if (!this.#country(at, country)) return;
        const first = owner.get(country);
        if (first === undefined) owner.set(country, name);
        else if (first === name) this.#say(at, { message: `${country} is listed twice` });
        else this.#say(at, { message: `${country} is in ${first} already` });
      });
    }
    const homeless = COUNTRIES.filter((country) => !owner.has(country));
    if (others === undefined && written.length > 0 && homeless.length > 0) {
      const message = `in no jurisdiction: ${some(homeless)}; list them, or say "countries: others" in one`;
      this.#say(['jurisdictions'], { message, at: 'key' });
    }
  }

  placement(): Coverage | undefined {
    const names = new Map<string, number>();
    let sound = true;
    this.#file.placement.forEach(({ rule, when, home }, index) => {
      const path = ['placement', index];
      const first = names.get(rule);
      if (first === undefined) names.set(rule, index);
      else {
        const message = `${quote(rule)} is the name of placement[${first}] already`;
        this.#say([...path, 'rule'], { message });
      }
      this.#region([...path, 'home'], home);
      if (when === 'everyone') return;
      if (Object.keys(when).length === 0) {
        sound = false;
        this.#say([...path, 'when'], { message: 'is empty: say "everyone" if that is meant' });
      }
      for (const [fact, wanted] of Object.entries(when)) {
        if (wanted !== undefined && !this.#condition([...path, 'when', fact], fact, wanted)) {
          sound = false;
        }
      }
    });
    // Behind a misspelt condition every later finding would be about the mistake, not the rule.
    if (!sound || names.size === 0) return undefined;
    const coverage = walkCases(this.#policy);
    this.#coverage(coverage);
    return coverage;
  }

  tables(coverage: Coverage | undefined): void {
    const written = Object.entries(this.#file.tables);
    if (written.length === 0) this.#say(['tables'], { message: EMPTY, at: 'key' });
    const names = new Map<string, string>(written.map(([name]) => [name, `table ${name}`]));
    for (const [name, table] of written) {
      const path = ['tables', name];
      this.#tableKind(path, table);
      if (table.reference !== undefined) {
        this.#region([...path, 'reference', 'owner'], table.reference.owner);
      }
      table.mirrors?.forEach((mirror, index) => {
        const at = [...path, 'mirrors', index];
        const taken = names.get(mirror.as);
        if (taken === undefined) names.set(mirror.as, `a mirror of ${name}`);
        else this.#say([...at, 'as'], { message: `${quote(mirror.as)} is the name of ${taken}` });
        this.#mirror(at, table, mirror);
      });
      if (table.reference === undefined) this.#exports(name, coverage);
    }
  }

  failover(): void {
    this.#commits();
    this.#sites();
    if (this.#file.failover.scope !== 'jurisdiction') return;
    const homes = new Set([...this.#policy.jurisdictions.values()].flatMap((one) => one.regions));
    if ([...homes].some((home) => failoverRegions(this.#policy, home).length > 0)) return;
    const message =
      'no region could take over for another: none is allowed to all subjects of another; say "region"';
    this.#say(['failover', 'scope'], { message });
  }

  /** A loss that nobody has agreed to in words is an accident. */
  #commits(): void {
    const { commits = 'synchronous', possibleLoss, betweenSites } = this.#file.failover;
    if (commits === 'asynchronous' && possibleLoss === undefined) {
      const message =
        'asynchronous commits can be lost in a failover: say in possibleLoss what may be lost, and who accepts it';
      this.#say(['failover', 'commits'], { message });
    }
    if (commits !== 'asynchronous' && possibleLoss !== undefined) {
      const message = `nothing acknowledged is lost with ${commits} commits: leave it out`;
      this.#say(['failover', 'possibleLoss'], { message, at: 'key' });
    }
    if (commits !== 'quorum') return;
    for (const region of this.#regions?.values() ?? []) {
      const { id, nodes } = region;
      const at = sitesOf(region).map((site) => nodes.filter((one) => (one.site ?? id) === site));
      const largest = Math.max(...at.map(({ length }) => length));
      if (nodes.length < QUORUM_NODES_MIN) {
        const message = `a quorum needs ${QUORUM_NODES_MIN} nodes in each region, and ${id} has ${nodes.length}`;
        this.#say(['failover', 'commits'], { message });
      } else if (largest < QUORUM_NODES_MIN && betweenSites !== 'automatic') {
        // Any standby of a quorum may be the one that has a commit, and must be allowed to take over.
        const message = `a quorum needs ${QUORUM_NODES_MIN} nodes at one site, and no site of ${id} has more than ${largest}; or say betweenSites: automatic`;
        this.#say(['failover', 'commits'], { message });
      }
    }
  }

  /** Wherever a node stands, all of its region's data stands. */
  #sites(): void {
    const { sites = {}, betweenSites } = this.#file.failover;
    for (const [id, list] of Object.entries(sites)) {
      const path = ['failover', 'sites', id];
      const region = this.#regions?.get(id);
      if (this.#unknown(id)) {
        const suggestion = nearest(id, this.#regions?.keys() ?? []);
        const message = `no region ${quote(id)} in the catalogue`;
        this.#say(path, { message, suggestion, at: 'key' });
      }
      this.#unique(path, list);
      if (region === undefined) continue;
      const known = sitesOf(region);
      list.forEach((site, index) => {
        if (known.includes(site)) return;
        const message = `no node of ${id} in the catalogue stands at ${quote(site)}`;
        this.#say([...path, index], { message, suggestion: nearest(site, known) });
      });
      for (const { name, site = id } of region.nodes) {
        if (list.includes(site)) continue;
        const message = `leaves out ${site}, where ${name} stands with all data of ${id}: list it, or take the node out of the regions file`;
        this.#say(path, { message, at: 'key' });
      }
    }
    for (const region of this.#regions?.values() ?? []) {
      const known = sitesOf(region);
      if (sites[region.id] !== undefined || known.length === 1) continue;
      const message = `nodes of ${region.id} stand at ${known.join(' and ')}, and nothing says that its data may be at all of them: add sites: { ${region.id}: [${known.join(', ')}] }, or take nodes out of the regions file`;
      this.#say(['failover'], { message, at: 'key' });
    }
    const several = Object.values(sites).some((list) => list.length > 1);
    if (betweenSites !== undefined && !several) {
      const message = 'no region has more than one site in sites: leave it out';
      this.#say(['failover', 'betweenSites'], { message, at: 'key' });
    }
  }

  idempotency(): void {
    const { retention } = this.#file.idempotency;
    const ms = durationMs(retention);
    if (ms === undefined) return;
    const path = ['idempotency', 'retention'];
    if (ms < RETENTION_MS_MIN) {
      this.#say(path, { message: `${quote(retention)} is less than one minute` });
    }
    if (ms > RETENTION_MS_MAX) this.#say(path, { message: `${quote(retention)} is more than 31d` });
  }

  receipts(): void {
    const { keep, retention } = this.#file.receipts ?? {};
    if (keep !== undefined) this.#unique(['receipts', 'keep'], keep);
    const ms = retention === undefined ? undefined : durationMs(retention);
    if (retention === undefined || ms === undefined) return;
    const path = ['receipts', 'retention'];
    if (ms < RECEIPT_RETENTION_MS_MIN) {
      this.#say(path, { message: `${quote(retention)} is less than one day` });
    }
    if (ms > RECEIPT_RETENTION_MS_MAX) {
      this.#say(path, { message: `${quote(retention)} is more than 3653d` });
    }
  }

  get #file() {
    return this.#policy.written.document;
  }

  #say(path: Path, remark: Remark): void {
    this.complaints.push(complaintAt(this.#policy.written.source, path, remark));
  }

  #unique(path: Path, list: readonly string[]): void {
    list.forEach((item, index) => {
      if (list.indexOf(item) === index) return;
      this.#say([...path, index], { message: `${quote(item)} is listed twice` });
    });
  }

  #unknown(region: RegionId): boolean {
    return this.#regions?.has(region) === false;
  }

  #region(path: Path, region: RegionId): void {
    if (!this.#unknown(region)) return;
    const suggestion = nearest(region, this.#regions?.keys() ?? []);
    this.#say(path, { message: `no region ${quote(region)} in the catalogue`, suggestion });
  }

  #regionList(path: Path, list: readonly RegionId[]): void {
    this.#unique(path, list);
    list.forEach((region, index) => {
      this.#region([...path, index], region);
    });
  }

  #country(path: Path, country: string): boolean {
    if (isCountry(country)) return true;
    // The Union's own code is the likeliest of them all, and nothing is spelt like it.
    const message =
      country.toUpperCase() === 'EU'
        ? '"EU" is not a country: list its members'
        : `${quote(country)} is not a country code of ISO 3166-1 alpha-2`;
    this.#say(path, { message, suggestion: suggestCountry(country) });
    return false;
  }

  /** True when the condition names only things that exist. */
  #condition(path: Path, fact: string, wanted: string | readonly string[]): boolean {
    const values = typeof wanted === 'string' ? [wanted] : wanted;
    const before = this.complaints.length;
    const at = (index: number) => (typeof wanted === 'string' ? path : [...path, index]);
    if (typeof wanted !== 'string') this.#unique(path, values);
    const attribute = this.#policy.attributes.get(fact);
    if (fact === 'country') {
      values.forEach((country, index) => {
        this.#country(at(index), country);
      });
    } else if (fact === 'jurisdiction') {
      const known = [...this.#policy.jurisdictions.keys()];
      values.forEach((name, index) => {
        if (known.includes(name)) return;
        const message = `no jurisdiction ${quote(name)} is declared`;
        this.#say(at(index), { message, suggestion: nearest(name, known) });
      });
    } else if (attribute === undefined) {
      const suggestion = nearest(fact, [...BUILT_IN_FACTS, ...this.#policy.attributes.keys()]);
      this.#say(path, { message: 'no such attribute is declared', suggestion, at: 'key' });
    } else {
      values.forEach((value, index) => {
        if (attribute.values.includes(value)) return;
        const message = `${quote(value)} is not a value of ${fact}`;
        this.#say(at(index), { message, suggestion: nearest(value, attribute.values) });
      });
    }
    return this.complaints.length === before;
  }

  #coverage(coverage: Coverage): void {
    if (coverage.kind === 'too-many-cases') {
      const message = `${coverage.cases} combinations of countries and attributes are too many to check: test fewer attributes`;
      this.#say(['placement'], { message, at: 'key' });
      return;
    }
    const { placement } = this.#policy;
    for (const { rule, shadowedBy } of coverage.idle) {
      const earlier = shadowedBy.map((shadow) => shadow.rule).join(', ');
      const message =
        earlier === ''
          ? 'matches nobody: its conditions cannot hold together'
          : `never decides: everyone it matches is taken by ${earlier}`;
      this.#say(['placement', placement.indexOf(rule)], { message });
    }
    for (const { countries, condition } of gaps(coverage.gaps)) {
      const message = `no rule for ${some(countries)}${condition}`;
      this.#say(['placement'], { message, at: 'key' });
    }
    const strays = new Map<string, { index: number; at: Case; countries: Set<CountryCode> }>();
    for (const { rule, at } of coverage.strays) {
      const index = placement.indexOf(rule);
      // Both are complaints already: a home that does not exist, a jurisdiction without regions.
      if (this.#unknown(rule.home) || at.jurisdiction.regions.length === 0) continue;
      const key = `${index} ${at.jurisdiction.name}`;
      const stray = strays.get(key) ?? { index, at, countries: new Set() };
      for (const country of at.countries) stray.countries.add(country);
      strays.set(key, stray);
    }
    for (const { index, at, countries } of strays.values()) {
      const { name, regions } = at.jurisdiction;
      const message = `would place subjects of ${name} (${some([...countries])}) outside ${regions.join(', ')}, the regions of ${name}`;
      this.#say(['placement', index, 'home'], { message });
    }
  }

  #tableKind(path: Path, table: TableFile): void {
    if (table.reference === undefined) {
      if (table.subject === undefined) {
        const message = 'whose is it? Name its subject column, or say that it is reference data';
        this.#say(path, { message, at: 'key' });
      }
      if (table.transit === undefined) {
        const message =
          'missing: may request bodies pass through other regions, proxy or redirect?';
        this.#say([...path, 'transit'], { message, at: 'key' });
      }
      return;
    }
    for (const key of ['subject', 'transit', 'mirrors'] as const) {
      if (table[key] === undefined) continue;
      const message =
        key === 'mirrors'
          ? 'reference data is in every region already and needs no mirrors'
          : 'reference data belongs to nobody; keep this key or reference, not both';
      this.#say([...path, key], { message, at: 'key' });
    }
  }

  #mirror(path: Path, { subject }: TableFile, { columns, rows, homes, to }: MirrorFile): void {
    this.#unique([...path, 'columns'], columns);
    if (rows !== undefined && Object.keys(rows).length === 0) {
      this.#say([...path, 'rows'], { message: 'is empty: leave it out to mean all rows' });
    }
    if (subject !== undefined && !columns.includes(subject)) {
      const message = `lacks ${quote(subject)}, the subject column, without which nobody knows whose a row is`;
      this.#say([...path, 'columns'], { message });
    }
    for (const column of Object.keys(rows ?? {})) {
      if (columns.includes(column)) continue;
      const message =
        'is not among the columns that leave, and PostgreSQL takes a row back only by those; add it to them';
      this.#say([...path, 'rows', column], { message, at: 'key' });
    }
    this.#regionList([...path, 'homes'], homes);
    this.#regionList([...path, 'to'], to);
    to.forEach((region, index) => {
      if (!homes.every((home) => home === region)) return;
      this.#say([...path, 'to', index], { message: `${region} is where these rows live already` });
    });
  }

  /** What two mirrors, the jurisdictions and the airlocks say about each way out. */
  #exports(table: TableName, coverage: Coverage | undefined): void {
    const mirrors = this.#file.tables[table]?.mirrors ?? [];
    const taken = new Map<string, string>();
    mirrors.forEach((written, index) => {
      const mirror: Mirror = { ...written, rows: [] };
      const path = ['tables', table, 'mirrors', index];
      const complained = new Set<string>();
      for (const { from, to } of waysOut(table, mirror)) {
        const at = [...path, 'to', written.to.indexOf(to)];
        const first = taken.get(`${from} ${to}`);
        if (first === undefined) taken.set(`${from} ${to}`, written.as);
        else if (first !== written.as) {
          // Two publications of one table widen each other: PostgreSQL lets a row out if either does.
          const message = `${table} goes from ${from} to ${to} as ${first} already, and one table can take one way only`;
          this.#say(at, { message });
        }
        if (coverage?.kind !== 'walked' || this.#unknown(to)) continue;
        for (const { jurisdiction, home } of coverage.homes) {
          const { name, regions, copies } = jurisdiction;
          if (home !== from || regions.includes(to) || copies.includes(to)) continue;
          if (complained.has(`${name} ${to}`)) continue;
          complained.add(`${name} ${to}`);
          const message = `would bring rows of ${name} from ${from} to ${to}, which is neither among its regions nor its copies`;
          this.#say(at, { message });
        }
      }
      this.#airlocks(path, written);
      this.#identity(path, written, mirrors);
    });
  }

  /** A table has one replica identity at home, so what chooses rows on one way travels on all. */
  #identity(path: Path, mirror: MirrorFile, all: readonly MirrorFile[]): void {
    const leaves = ({ homes, to }: MirrorFile, home: RegionId) =>
      homes.includes(home) && to.some((region) => region !== home);
    for (const other of all) {
      const home = other.homes.find((from) => leaves(other, from) && leaves(mirror, from));
      if (other === mirror || home === undefined) continue;
      for (const column of Object.keys(other.rows ?? {})) {
        // What it says about its own rows is a complaint of its own.
        const said = mirror.rows !== undefined && Object.hasOwn(mirror.rows, column);
        if (said || mirror.columns.includes(column)) continue;
        const message = `lacks ${quote(column)}, by which rows leave ${home} as ${other.as}; PostgreSQL takes rows of one table back by the same columns on all ways, so add it here as well`;
        this.#say([...path, 'columns'], { message });
      }
    }
  }

  /** Whoever may read an airlock at all can read everything in it, so its peers go together. */
  #airlocks(path: Path, { homes, to }: MirrorFile): void {
    for (const home of new Set(homes)) {
      for (const { name, peers } of this.#regions?.get(home)?.airlocks ?? []) {
        const named = peers.filter((peer) => to.includes(peer));
        const left = peers.filter((peer) => !to.includes(peer));
        if (named.length === 0 || left.length === 0) continue;
        const [they, read] = [left.join(', '), left.length === 1 ? 'reads' : 'read'];
        const message = `leaves out ${they}, which ${read} the same airlock of ${home}, ${name}, as ${named.join(', ')}; name ${they} as well, or give them different airlocks in the regions file`;
        this.#say([...path, 'to'], { message });
      }
    }
  }
}

const EMPTY = 'is empty: name at least one';

/** Gaps by what they have in common: first countries without any rule, then the partial ones. */
function gaps(cases: readonly Case[]): { countries: CountryCode[]; condition: string }[] {
  const byCondition = new Map<string, Set<CountryCode>>();
  const seen = new Set<CountryCode>();
  for (const { countries, attributes } of cases) {
    const condition = [...attributes].map(([name, value]) => `${name} ${value}`).join(', ');
    const fresh = countries.filter((country) => !seen.has(country));
    const known = byCondition.get(condition) ?? new Set();
    for (const country of fresh) {
      seen.add(country);
      known.add(country);
    }
    if (known.size > 0) byCondition.set(condition, known);
  }
  return [...byCondition].map(([condition, countries]) => ({
    countries: [...countries].sort(),
    condition: condition === '' ? '' : ` with ${condition}`,
  }));
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, NAMED_MAX).join(', ');
  const left = names.length - NAMED_MAX;
  return left > 0 ? `${shown} and ${left} more` : shown;
}
