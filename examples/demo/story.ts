/**
 * What does Domicile promise, told as one story?
 *
 * Each step is a claim, what is done or asked, and what has to come back for the claim to be true.
 * The names are those of the storefront's regions file: three regions us, eu and asia, each with
 * an edge and two Postgres nodes, of which `-a` starts as the primary and `-b` as its replica.
 */
import type { Story } from './step.ts';

const GRETA = {
  id: 'greta',
  displayName: 'Greta Vogel',
  email: 'greta@example.org',
  country: 'DE',
};
const HANK = { id: 'hank', displayName: 'Hank Moss', email: 'hank@example.org', country: 'US' };
const LENA = { id: 'lena', displayName: 'Lena Faure', email: 'lena@example.org', country: 'FR' };
const SAM_OF_JAPAN = { id: 'sam', displayName: 'Sam Ito', email: 'i@example.org', country: 'JP' };
const SAM_OF_BRAZIL = { id: 'sam', displayName: 'Sam Reis', email: 'r@example.org', country: 'BR' };

const LAMP = { items: [{ product: 'lamp-brass', quantity: 1 }] };
const HER_ORDER = { orders: [{ status: 'placed', totalCents: 8900 }] };

const ON_EU_REPLICA = {
  'domicile-served-by': 'eu/eu-b',
  'domicile-decision': /node=eu-b;rung=replica$/,
};

/** A dead home is to be noticed within this time, not waited for. */
const REFUSED_WITHIN_MS = 2_000;

export const story: Story = [
  {
    claim: 'Greta from Germany signs up at the Asia edge; the policy makes eu her home',
    asks: [
      {
        at: 'asia',
        as: 'greta',
        method: 'POST',
        path: '/users',
        body: GRETA,
        expect: {
          status: 201,
          headers: {
            'domicile-home': 'eu',
            'domicile-served-by': 'eu/eu-a',
            'domicile-decision': 'forward;to=eu, serve;node=eu-a;rung=primary',
          },
        },
      },
    ],
  },
  {
    claim: 'Every edge can tell where she lives, without a session that would name her home',
    asks: (['us', 'eu', 'asia'] as const).map((at) => ({
      at,
      path: '/users/greta',
      // Nobody promises a stranger to see what she wrote a moment ago; here it comes soon.
      eventually: {
        status: 200,
        headers: { 'domicile-home': 'eu', 'domicile-served-by': /^eu\// },
        body: { displayName: 'Greta Vogel', country: 'DE' },
      },
    })),
  },
  {
    claim: 'She orders a lamp through the US edge; the order is written in eu',
    asks: [
      {
        at: 'us',
        as: 'greta',
        method: 'POST',
        path: '/users/greta/orders',
        body: LAMP,
        expect: {
          status: 201,
          headers: {
            'domicile-home': 'eu',
            'domicile-served-by': 'eu/eu-a',
            'domicile-decision': 'forward;to=eu, serve;node=eu-a;rung=primary',
          },
          body: { status: 'placed', totalCents: 8900 },
        },
      },
    ],
  },
  {
    claim: 'She reads her own write at every edge at once, and soon always from the replica eu-b',
    asks: (['us', 'eu', 'asia'] as const).map((at) => ({
      at,
      as: 'greta',
      path: '/users/greta/orders',
      // At each single answer her order is there. Only the node may differ, while eu-b is behind.
      expect: { status: 200, headers: { 'domicile-home': 'eu' }, body: HER_ORDER },
      eventually: { headers: ON_EU_REPLICA },
    })),
  },
  {
    claim: 'Two edges create one id at once for two homes: one is let in, one hears who has it',
    together: true,
    asks: [
      { at: 'us', method: 'POST', path: '/users', body: SAM_OF_JAPAN },
      { at: 'asia', method: 'POST', path: '/users', body: SAM_OF_BRAZIL },
    ],
    between: ([one, other]) => {
      const [winner, loser] = one?.status === 201 ? [one, other] : [other, one];
      const home = winner?.headers.get('domicile-home');
      const told = (loser?.body as { home?: unknown } | undefined)?.home;
      return [
        ...(winner?.status === 201 ? [] : ['nobody was let in']),
        ...(loser?.status === 409 ? [] : [`the other one got ${loser?.status}, not 409`]),
        ...(told === home ? [] : [`the loser was told "${told}", the home is "${home}"`]),
      ];
    },
  },
  {
    claim: 'Nobody can have Greta’s neighbour placed in the US against the policy',
    asks: [
      {
        at: 'us',
        method: 'POST',
        path: '/users',
        body: { displayName: 'Emil Vogel', email: 'e@example.org', country: 'DE', home: 'us' },
        expect: {
          status: 403,
          problem: 'home-not-yours-to-choose',
          body: { asked: 'us', home: 'eu', rule: 'europe', retry: 'after-change' },
        },
      },
    ],
  },
  {
    claim: 'A session token that somebody tampered with is refused, not ignored',
    asks: [
      {
        at: 'asia',
        as: 'greta',
        forged: true,
        path: '/users/greta/orders',
        expect: {
          status: 401,
          problem: 'session-token-forged',
          headers: { 'domicile-decision': 'refuse;because=session-token-forged' },
        },
      },
    ],
  },
  {
    claim: 'Products belong to us; Asia reads its own copy of them and says how old it may be',
    asks: [
      {
        at: 'asia',
        path: '/products',
        expect: {
          status: 200,
          headers: {
            'domicile-home': 'us',
            'domicile-served-by': /^asia\/asia-[ab]$/,
            'domicile-decision': /^serve;node=asia-[ab];rung=mirror$/,
            'domicile-staleness-ms': /^\d+$/,
          },
        },
      },
    ],
  },
  {
    claim: 'The card of Hank from the US may be copied: Asia soon serves it from its mirror',
    asks: [
      {
        at: 'us',
        as: 'hank',
        method: 'POST',
        path: '/users',
        body: HANK,
        expect: {
          status: 201,
          headers: { 'domicile-home': 'us', 'domicile-served-by': 'us/us-a' },
        },
      },
      {
        at: 'asia',
        path: '/users/hank/card',
        // Until the mirror has what he wrote, his session takes the request home.
        expect: {
          status: 200,
          headers: { 'domicile-home': 'us' },
          body: { displayName: 'Hank Moss' },
        },
        eventually: {
          headers: {
            'domicile-served-by': /^asia\//,
            'domicile-decision': /^serve;node=asia-[ab];rung=mirror$/,
          },
        },
      },
    ],
  },
  {
    claim: 'Greta’s card may not leave eu: Asia asks her home for it',
    asks: [
      {
        at: 'asia',
        path: '/users/greta/card',
        expect: {
          status: 200,
          headers: {
            'domicile-home': 'eu',
            'domicile-served-by': /^eu\//,
            'domicile-decision': /^forward;to=eu, serve;node=eu-[ab];rung=\w+$/,
          },
          body: { displayName: 'Greta Vogel' },
        },
      },
    ],
  },
  {
    claim: 'Lena from France signs up in eu; Asia never hears of her but through the directory',
    asks: [
      {
        at: 'eu',
        method: 'POST',
        path: '/users',
        body: LENA,
        expect: { status: 201, headers: { 'domicile-home': 'eu' } },
      },
    ],
  },
  {
    claim: 'The eu edge is killed: Asia refuses within 2 s, and knows even where Lena lives',
    first: { kill: 'edge-eu' },
    asks: [
      {
        at: 'asia',
        as: 'greta',
        path: '/users/greta/orders',
        expect: {
          status: 503,
          problem: 'residency-unavailable',
          body: { home: 'eu', retry: 'safe' },
          withinMs: REFUSED_WITHIN_MS,
        },
      },
      {
        at: 'asia',
        path: '/users/lena',
        expect: { status: 503, withinMs: REFUSED_WITHIN_MS },
        eventually: { problem: 'residency-unavailable', body: { home: 'eu' } },
      },
      {
        at: 'us',
        as: 'greta',
        method: 'POST',
        path: '/users/greta/orders',
        body: LAMP,
        expect: {
          status: 503,
          problem: 'residency-unavailable',
          body: { home: 'eu', retry: 'safe' },
          withinMs: REFUSED_WITHIN_MS,
        },
      },
    ],
  },
  {
    claim: 'Meanwhile users at home in us notice nothing, at home or in Asia',
    asks: [
      {
        at: 'us',
        as: 'hank',
        method: 'POST',
        path: '/users/hank/orders',
        body: LAMP,
        expect: { status: 201, headers: { 'domicile-served-by': 'us/us-a' } },
      },
      {
        at: 'asia',
        as: 'hank',
        path: '/users/hank/orders',
        expect: {
          status: 200,
          headers: { 'domicile-home': 'us', 'domicile-served-by': /^us\// },
          body: HER_ORDER,
        },
      },
    ],
  },
  {
    claim: 'The eu edge is started again: Greta finds her one order, and reads it from the replica',
    first: { start: 'edge-eu' },
    asks: [
      {
        at: 'asia',
        as: 'greta',
        path: '/users/greta/orders',
        expect: { status: 200, headers: { 'domicile-home': 'eu' }, body: HER_ORDER },
        eventually: { headers: ON_EU_REPLICA },
      },
    ],
  },
];
