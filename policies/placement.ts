/**
 * Where is the home of this subject?
 *
 * The first rule that matches decides, and its answer must lie in a region that the subject's
 * jurisdiction allows. Everything here follows from verified facts about the subject; where the
 * request landed is not among the arguments. Doubt ends in a refusal: an unknown country, an
 * attribute nobody declared and a fact that nobody stated never fall through to a later rule.
 */
import type { RegionId } from '../regions/catalogue.ts';
import { nearest } from '../regions/yaml-suggestion.ts';
import { type CountryCode, countryCode, suggestCountry } from './countries.ts';
import {
  type Condition,
  type JurisdictionName,
  jurisdictionOf,
  type Policy,
  type Rule,
} from './policy.ts';

/** `country` in either case, and any attributes that the policy declares. */
export type Attributes = { country: string; [attribute: string]: string };

/** What the rules see: country, jurisdiction and every declared attribute. */
export type Facts = ReadonlyMap<string, string>;

export type Placement = Placed | Refused;

export type Placed = {
  kind: 'placed';
  home: RegionId;
  country: CountryCode;
  jurisdiction: JurisdictionName;
  rule: string;
  because: string;
  passedOver: readonly PassedOver[];
};

export type Refused = { kind: 'refused' } & Refusal;

export type Refusal =
  | { because: 'unknown-country'; country: string; suggestion: string | undefined }
  | { because: 'no-jurisdiction'; country: CountryCode }
  | { because: 'unknown-attribute'; attribute: string; suggestion: string | undefined }
  | { because: 'missing-attribute'; attribute: string; allowed: readonly string[] }
  | {
      because: 'unknown-value';
      attribute: string;
      value: string;
      allowed: readonly string[];
      suggestion: string | undefined;
    }
  | { because: 'no-rule'; passedOver: readonly PassedOver[] }
  | {
      because: 'outside-jurisdiction';
      rule: string;
      home: RegionId;
      jurisdiction: JurisdictionName;
      allowed: readonly RegionId[];
      passedOver: readonly PassedOver[];
    };

/** A rule that did not match, and the first of its conditions that failed. */
export type PassedOver = {
  rule: string;
  fact: string;
  wanted: readonly string[];
  found: string | undefined;
};

export function placeSubject(policy: Policy, attributes: Attributes): Placement {
  const { country: stated, ...others } = attributes;
  // A body that reached us as JSON may hold anything, whatever the types say.
  if (typeof stated !== 'string') {
    return { kind: 'refused', because: 'missing-attribute', attribute: 'country', allowed: [] };
  }
  const country = countryCode(stated);
  if (country === undefined) {
    const suggestion = suggestCountry(stated);
    return { kind: 'refused', because: 'unknown-country', country: stated, suggestion };
  }
  const jurisdiction = jurisdictionOf(policy, country);
  if (jurisdiction === undefined) return { kind: 'refused', because: 'no-jurisdiction', country };

  const facts = new Map([
    ['country', country],
    ['jurisdiction', jurisdiction.name],
  ]);
  const refusal = addAttributes(policy, others, facts);
  if (refusal !== undefined) return { kind: 'refused', ...refusal };

  const { rule, passedOver } = firstMatch(policy.placement, facts);
  if (rule === undefined) return { kind: 'refused', because: 'no-rule', passedOver };
  const { home } = rule;
  if (!jurisdiction.regions.includes(home)) {
    return {
      kind: 'refused',
      because: 'outside-jurisdiction',
      rule: rule.rule,
      home,
      jurisdiction: jurisdiction.name,
      allowed: jurisdiction.regions,
      passedOver,
    };
  }
  return {
    kind: 'placed',
    home,
    country,
    jurisdiction: jurisdiction.name,
    rule: rule.rule,
    because: rule.because,
    passedOver,
  };
}

/** Adds what was stated or is assumed to `facts`; answers with the first reason not to. */
function addAttributes(
  { attributes: declared }: Policy,
  stated: Readonly<Record<string, string>>,
  facts: Map<string, string>,
): Refusal | undefined {
  for (const attribute of Object.keys(stated)) {
    if (!declared.has(attribute)) {
      const suggestion = nearest(attribute, declared.keys());
      return { because: 'unknown-attribute', attribute, suggestion };
    }
  }
  for (const [attribute, { values: allowed, default: assumed }] of declared) {
    const value = Object.hasOwn(stated, attribute) ? stated[attribute] : assumed;
    if (value === undefined) return { because: 'missing-attribute', attribute, allowed };
    if (!allowed.includes(value)) {
      const suggestion = typeof value === 'string' ? nearest(value, allowed) : undefined;
      return { because: 'unknown-value', attribute, value, allowed, suggestion };
    }
    facts.set(attribute, value);
  }
  return undefined;
}

/** The rule that decides, and those before it that did not. The checks use this very function. */
export function firstMatch(
  rules: readonly Rule[],
  facts: Facts,
): { rule: Rule | undefined; passedOver: readonly PassedOver[] } {
  const passedOver: PassedOver[] = [];
  for (const rule of rules) {
    const failed = rule.when.find((condition) => !holds(condition, facts));
    if (failed === undefined) return { rule, passedOver };
    const { fact, oneOf } = failed;
    passedOver.push({ rule: rule.rule, fact, wanted: oneOf, found: facts.get(fact) });
  }
  return { rule: undefined, passedOver };
}

export function matches(rule: Rule, facts: Facts): boolean {
  return rule.when.every((condition) => holds(condition, facts));
}

function holds({ fact, oneOf }: Condition, facts: Facts): boolean {
  const found = facts.get(fact);
  return found !== undefined && oneOf.includes(found);
}
