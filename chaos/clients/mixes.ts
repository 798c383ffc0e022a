/**
 * What do clients do, and how often?
 *
 * Weights, not percentages. A mix says nothing of subjects, edges and times: those are drawn.
 */
import type { Level } from '../history.ts';

export type Deed =
  /** A transaction that appends, and may read. */
  | 'append'
  | 'lists-read'
  | 'register-read'
  | 'register-write'
  | 'register-swap'
  | 'order'
  | 'stock-read'
  | 'notice-read'
  | 'notice-write'
  | 'create';

export type Mix = {
  deeds: Readonly<Partial<Record<Deed, number>>>;
  levels: Readonly<Partial<Record<Level, number>>>;
  /** The chance that an operation is sent to any edge and not to the client's usual one. */
  travels: number;
  /** The share of clients who use the session of the client before them. */
  shares: number;
  /** The chance that a write has an idempotency key. */
  keyed: number;
};

const LEVELS = { session: 45, strong: 25, bounded: 15, eventual: 15 } as const;

export const MIXES = {
  lists: {
    deeds: { append: 60, 'lists-read': 40 },
    levels: LEVELS,
    travels: 0.2,
    shares: 0.25,
    keyed: 0.5,
  },
  registers: {
    deeds: { 'register-read': 45, 'register-write': 30, 'register-swap': 25 },
    levels: LEVELS,
    travels: 0.2,
    shares: 0.25,
    keyed: 0.5,
  },
  shop: {
    deeds: { order: 55, 'stock-read': 45 },
    levels: LEVELS,
    travels: 0.2,
    shares: 0.25,
    keyed: 0.8,
  },
  /** Sessions that are hardly twice at the same edge. */
  travellers: {
    deeds: {
      append: 25,
      'lists-read': 25,
      'register-write': 15,
      'register-read': 20,
      'notice-write': 5,
      'notice-read': 10,
    },
    levels: { session: 90, strong: 10 },
    travels: 0.9,
    shares: 0.5,
    keyed: 0.5,
  },
  notices: {
    deeds: { 'notice-write': 30, 'notice-read': 70 },
    levels: { session: 25, strong: 10, bounded: 35, eventual: 30 },
    travels: 0.7,
    shares: 0.25,
    keyed: 0.5,
  },
  everything: {
    deeds: {
      append: 18,
      'lists-read': 14,
      'register-read': 14,
      'register-write': 9,
      'register-swap': 9,
      order: 11,
      'stock-read': 8,
      'notice-read': 11,
      'notice-write': 4,
      create: 2,
    },
    levels: LEVELS,
    travels: 0.35,
    shares: 0.25,
    keyed: 0.6,
  },
} as const satisfies Record<string, Mix>;

export type MixName = keyof typeof MIXES;
