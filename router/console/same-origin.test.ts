/** Which requests a cookie may vouch for: every combination of what browsers say. */
import { describe, expect, test } from 'vitest';
import { CONSOLE_HEADER, isFromElsewhere, isFromOwnPage } from './same-origin.ts';

const HOST = 'edge.example:8443';
const OWN = `https://${HOST}`;
const SITES = [null, 'same-origin', 'same-site', 'cross-site', 'none'];
const ORIGINS = [null, OWN, 'https://edge.example', 'https://evil.example', 'null'];
const MARKS = [null, '1', '0'];

const asked = (fields: Record<string, string | null>) => (name: string) =>
  ({ host: HOST, ...fields })[name] ?? null;

const all = SITES.flatMap((site) =>
  ORIGINS.flatMap((origin) => MARKS.map((mark) => [site, origin, mark] as const)),
);

describe('what changes something', () => {
  test.each(all)('with site %s, origin %s and mark %s', (site, origin, mark) => {
    const field = asked({ 'sec-fetch-site': site, origin, [CONSOLE_HEADER]: mark });
    const own = site === null ? origin === OWN : site === 'same-origin';
    expect(isFromOwnPage(field)).toBe(own && mark === '1');
  });
});

describe('what reads', () => {
  test.each(all)('with site %s, origin %s and mark %s', (site, origin) => {
    const field = asked({ 'sec-fetch-site': site, origin });
    const elsewhere =
      site === null
        ? origin !== null && origin !== OWN
        : site === 'cross-site' || site === 'same-site';
    expect(isFromElsewhere(field)).toBe(elsewhere);
  });
});

test('a request without a host has no page', () => {
  const field = asked({ host: null, origin: OWN, [CONSOLE_HEADER]: '1' });
  expect(isFromOwnPage(field)).toBe(false);
});
