/**
 * Small policies and regions for tests of what follows from a policy.
 *
 * Three regions, of which asia has an airlock for each of its peers; users with orders, and products
 * of us.
 */
import type { Catalogue, Region } from '../regions/catalogue.ts';
import type { Shapes } from './cluster-state.ts';
import {
  connectionName,
  type DesiredInput,
  desiredState,
  subscriptionFrom,
  subscriptionHome,
} from './desired-state.ts';
import type { Mirror, Policy, Table } from './policy.ts';

export const REGIONS = ['us', 'eu', 'asia'] as const;

export const LOGINS = {
  writer: 'domicile_writer',
  reader: 'domicile_reader',
  abroad: 'domicile_abroad',
  router: 'domicile_router',
};

const text = (name: string, notNull = true) => ({ name, type: 'text', notNull });

export const SHAPES: Shapes = new Map([
  [
    'users',
    {
      columns: [text('id'), text('name'), text('email'), text('country'), text('nick', false)],
      primaryKey: ['id'],
    },
  ],
  [
    'orders',
    {
      columns: [
        { name: 'id', type: 'uuid', notNull: true },
        text('user_id'),
        text('status'),
        { name: 'cents', type: 'bigint', notNull: true },
      ],
      primaryKey: ['id'],
    },
  ],
  ['products', { columns: [text('id'), text('name')], primaryKey: ['id'] }],
]);

const node = (name: string) => ({ name, host: '127.0.0.1', port: 1 });

function region(id: string, airlocks: Region['airlocks']): Region {
  return {
    id,
    title: id,
    database: 'app',
    edges: [],
    nodes: [node(`${id}-a`), node(`${id}-b`)],
    airlocks,
  };
}

export const CATALOGUE: Catalogue = {
  regions: new Map([
    ['us', region('us', [{ ...node('us-x'), peers: ['eu', 'asia'] }])],
    ['eu', region('eu', [{ ...node('eu-x'), peers: ['us', 'asia'] }])],
    [
      'asia',
      region('asia', [
        { ...node('asia-x'), peers: ['us'] },
        { ...node('asia-y'), peers: ['eu'] },
      ]),
    ],
  ]),
  distances: [],
};

export type MirrorOf = Partial<Mirror> & Pick<Mirror, 'as' | 'columns'>;

export function mirror(one: MirrorOf): Mirror {
  return { rows: [], homes: [...REGIONS], to: [...REGIONS], ...one };
}

export function policyOf(
  version: number,
  {
    users = [],
    orders = [],
    owner = 'us',
  }: {
    users?: readonly Mirror[];
    orders?: readonly Mirror[];
    owner?: string;
  },
): Policy {
  return {
    version,
    because: 'a test',
    effective: '2026-01-01',
    attributes: new Map(),
    jurisdictions: new Map(),
    placement: [],
    tables: new Map<string, Table>([
      [
        'users',
        { kind: 'subject', name: 'users', subject: 'id', transit: 'proxy', mirrors: users },
      ],
      [
        'orders',
        { kind: 'subject', name: 'orders', subject: 'user_id', transit: 'proxy', mirrors: orders },
      ],
      ['products', { kind: 'reference', name: 'products', owner }],
    ]),
    failover: {
      scope: 'region',
      commits: 'synchronous',
      possibleLoss: undefined,
      sites: new Map(),
      betweenSites: 'order',
    },
    idempotency: { retentionMs: 60_000 },
    consistency: { kind: 'session' },
    receipts: { keep: [], retentionMs: 60_000 },
    written: {
      document: {} as Policy['written']['document'],
      source: { file: '', places: new Map() },
    },
  };
}

export function inputOf(policy: Policy, catalogue = CATALOGUE): DesiredInput {
  const connections = new Map<string, string>();
  for (const { id, airlocks } of catalogue.regions.values()) {
    for (const { name, peers } of airlocks) {
      connections.set(connectionName(name, subscriptionHome(name)), `to ${id}`);
      for (const peer of peers) {
        connections.set(connectionName(peer, subscriptionFrom(id)), `to ${name}`);
      }
    }
  }
  return {
    policy,
    catalogue,
    schemas: new Map(
      [...catalogue.regions.keys()].map((id) => [id, { tables: SHAPES, sequences: [] }]),
    ),
    logins: LOGINS,
    installed: () => ({
      private: new Map([['postgres', ['login', 'superuser']]]),
      airlock: new Map([['postgres', ['login', 'superuser']]]),
    }),
    connections,
  };
}

const known = new WeakMap<Policy, ReturnType<typeof desiredState>>();

export function desired(policy: Policy, catalogue = CATALOGUE) {
  if (catalogue !== CATALOGUE) return desiredState(inputOf(policy, catalogue));
  const state = known.get(policy) ?? desiredState(inputOf(policy));
  known.set(policy, state);
  return state;
}
