/** Why does the policy give this subject no home, in a sentence for the person who asked? */
import type { Refused } from './placement.ts';

export function refusalInWords(refused: Refused): string {
  switch (refused.because) {
    case 'unknown-country':
      return `"${refused.country}" is not an ISO 3166-1 alpha-2 code, such as DE or JP.${meant(refused.suggestion)}`;
    case 'no-jurisdiction':
      return `No jurisdiction of the policy has the country ${refused.country}.`;
    case 'unknown-attribute':
      return `The policy declares no attribute "${refused.attribute}".${meant(refused.suggestion)}`;
    case 'missing-attribute':
      return `The policy needs to know "${refused.attribute}"${oneOf(refused.allowed)}.`;
    case 'unknown-value':
      return `"${refused.attribute}" must be one of ${refused.allowed.join(', ')}.${meant(refused.suggestion)}`;
    case 'no-rule':
      return 'No placement rule matches.';
    case 'outside-jurisdiction':
      return `Rule "${refused.rule}" says "${refused.home}", which jurisdiction "${refused.jurisdiction}" does not allow.`;
  }
}

function meant(suggestion: string | undefined): string {
  return suggestion === undefined ? '' : ` Did you mean ${suggestion}?`;
}

function oneOf(allowed: readonly string[]): string {
  return allowed.length === 0 ? '' : `, one of ${allowed.join(', ')}`;
}
