/**
 * What do the placement rules do for every subject there could be?
 *
 * Countries that no rule tells apart are one case, and so are values of an attribute, which makes
 * the whole space small enough to walk. Every case is decided by the function that decides for
 * real subjects. How a finding is worded is left to `check-policy.ts`.
 */
import type { RegionId } from '../regions/catalogue.ts';
import { COUNTRIES, type CountryCode } from './countries.ts';
import { firstMatch, matches } from './placement.ts';
import { type Jurisdiction, jurisdictionOf, type Policy, type Rule } from './policy.ts';

/** Cases times rules. Above this the walk takes seconds; a real policy needs a few hundred. */
export const STEPS_MAX = 1_000_000;

/** Subjects that all rules treat alike. */
export type Case = {
  countries: readonly CountryCode[];
  jurisdiction: Jurisdiction;
  /** Only attributes that some rule tests, each with one of the values that are treated alike. */
  attributes: ReadonlyMap<string, string>;
};

export type Coverage =
  | { kind: 'too-many-cases'; cases: number }
  | {
      kind: 'walked';
      /** No rule matches. */
      gaps: readonly Case[];
      /** The rule that decides chooses a home outside the jurisdiction's regions. */
      strays: readonly { rule: Rule; at: Case }[];
      /** Rules that never decide, with the earlier ones that take all they match. */
      idle: readonly { rule: Rule; shadowedBy: readonly Rule[] }[];
      /** Every home that subjects of a jurisdiction can get. */
      homes: readonly { jurisdiction: Jurisdiction; home: RegionId }[];
    };

export function walkCases(policy: Policy): Coverage {
  const places = countryCases(policy);
  const attributes = testedAttributes(policy);
  const cases = attributes.reduce((count, { values }) => count * values.length, places.length);
  if (cases * policy.placement.length > STEPS_MAX) return { kind: 'too-many-cases', cases };

  const gaps: Case[] = [];
  const strays: { rule: Rule; at: Case }[] = [];
  const homes = new Map<string, { jurisdiction: Jurisdiction; home: RegionId }>();
  const deciding = new Set<Rule>();
  const shadows = new Map<Rule, Set<Rule>>();
  for (const combination of combinations(attributes)) {
    for (const { countries, jurisdiction } of places) {
      const at: Case = { countries, jurisdiction, attributes: combination };
      const facts = new Map(combination)
        .set('country', String(countries[0]))
        .set('jurisdiction', jurisdiction.name);
      const { rule } = firstMatch(policy.placement, facts);
      if (rule === undefined) {
        gaps.push(at);
        continue;
      }
      deciding.add(rule);
      if (!jurisdiction.regions.includes(rule.home)) strays.push({ rule, at });
      else homes.set(`${jurisdiction.name} ${rule.home}`, { jurisdiction, home: rule.home });
      for (const later of policy.placement.slice(policy.placement.indexOf(rule) + 1)) {
        if (!matches(later, facts)) continue;
        shadows.set(later, (shadows.get(later) ?? new Set()).add(rule));
      }
    }
  }
  const idle = policy.placement
    .filter((rule) => !deciding.has(rule))
    .map((rule) => ({ rule, shadowedBy: [...(shadows.get(rule) ?? [])] }));
  return { kind: 'walked', gaps, strays, idle, homes: [...homes.values()] };
}

/** Countries in no jurisdiction are left out: that is a complaint of its own. */
function countryCases(policy: Policy): { countries: CountryCode[]; jurisdiction: Jurisdiction }[] {
  const named = policy.placement.flatMap(({ when }) =>
    when.filter(({ fact }) => fact === 'country').map(({ oneOf }) => new Set(oneOf)),
  );
  const found = new Map<string, { countries: CountryCode[]; jurisdiction: Jurisdiction }>();
  for (const country of COUNTRIES) {
    const jurisdiction = jurisdictionOf(policy, country);
    if (jurisdiction === undefined) continue;
    const key = `${named.map((list) => (list.has(country) ? 1 : 0)).join('')} ${jurisdiction.name}`;
    const alike = found.get(key);
    if (alike === undefined) found.set(key, { countries: [country], jurisdiction });
    else alike.countries.push(country);
  }
  return [...found.values()];
}

/** One value of each group that no rule tells apart. */
function testedAttributes(policy: Policy): { attribute: string; values: readonly string[] }[] {
  const tested: { attribute: string; values: readonly string[] }[] = [];
  for (const [attribute, { values }] of policy.attributes) {
    const lists = policy.placement.flatMap(({ when }) =>
      when.filter(({ fact }) => fact === attribute).map(({ oneOf }) => new Set(oneOf)),
    );
    if (lists.length === 0) continue;
    const groups = new Map<string, string>();
    for (const value of values) {
      const key = lists.map((list) => (list.has(value) ? 1 : 0)).join('');
      if (!groups.has(key)) groups.set(key, value);
    }
    tested.push({ attribute, values: [...groups.values()] });
  }
  return tested;
}

function combinations(
  attributes: readonly { attribute: string; values: readonly string[] }[],
): ReadonlyMap<string, string>[] {
  let found: ReadonlyMap<string, string>[] = [new Map()];
  for (const { attribute, values } of attributes) {
    found = found.flatMap((begun) =>
      values.map((value) => new Map([...begun, [attribute, value] as const])),
    );
  }
  return found;
}
