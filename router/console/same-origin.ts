/**
 * Does this request come from the console's own page?
 *
 * A browser adds its cookie to what any page makes it send, so a cookie alone changes nothing here.
 * Browsers say who makes them ask (`Sec-Fetch-Site`, Fetch Metadata; older ones and plain http
 * `Origin` alone), and no page can say it for them; a header field of our own no form can send.
 */

/** Set by the page on whatever changes something. */
export const CONSOLE_HEADER = 'domicile-console';

type Field = (name: string) => string | null;

/** For requests that change something and that a cookie, or nothing yet, vouches for. */
export function isFromOwnPage(field: Field): boolean {
  return field(CONSOLE_HEADER) === '1' && isSameOrigin(field);
}

/** For requests that only read: who says nothing is no browser, or a person at the address line. */
export function isFromElsewhere(field: Field): boolean {
  const site = field('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  const origin = field('origin');
  return origin !== null && !isOwnOrigin(origin, field('host'));
}

function isSameOrigin(field: Field): boolean {
  const site = field('sec-fetch-site');
  if (site !== null) return site === 'same-origin';
  const origin = field('origin');
  return origin !== null && isOwnOrigin(origin, field('host'));
}

/** Whoever ends TLS in front of an edge changes the scheme, and leaves the host as it is. */
function isOwnOrigin(origin: string, host: string | null): boolean {
  return host !== null && URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}
