/**
 * How is a residency policy written down?
 *
 * Shape only, and the one source of the JSON Schema that editors complete from: every key carries
 * the sentence that a person sees while typing it. What no shape can express (a country in two
 * jurisdictions, a rule that nothing reaches) is in `check-policy.ts`.
 */
import * as z from 'zod';
import { LEVELS, readLevel } from './consistency.ts';
import { COUNTRIES } from './countries.ts';
import { IDENTIFIER, isReserved } from './sql-words.ts';

const WORD = /^[a-z][a-z0-9-]{0,62}$/;
const DURATION = /^[1-9][0-9]{0,5}(s|m|h|d)$/;

const identifier = (what: string) =>
  z
    .string()
    .regex(IDENTIFIER, `is not ${what}: lower-case letters, digits and underscores, 63 at most`)
    .refine((name) => !isReserved(name), `is not ${what}: SQL keeps this word for itself`);
const word = (what: string) =>
  z.string().regex(WORD, `is not ${what}: a lower-case letter, then letters, digits or hyphens`);
const oneOrMore = <T extends z.ZodType>(item: T) =>
  z.union([item, z.array(item).min(1).max(COUNTRIES_MAX)]);

/** Far above any real policy. They keep every comparison of a list with itself short. */
const REGIONS_MAX = 32;
const COUNTRIES_MAX = 300;
const VALUES_MAX = 100;
const RULES_MAX = 500;
const MIRRORS_MAX = 32;
/** Each has a node at least. */
const SITES_MAX = 16;
/** PostgreSQL's own limit for a table. */
const COLUMNS_MAX = 1_600;
/** ISO 8601 has a year 0, PostgreSQL has not, and no policy is that old. */
const EFFECTIVE_MIN = '2000-01-01';

/** Decisions that can leave a receipt. */
export const RECEIPT_KINDS = ['place', 'forward', 'redirect', 'refuse'] as const;
export type ReceiptKind = (typeof RECEIPT_KINDS)[number];
/** A year: the period that an auditor usually asks about. */
export const RECEIPT_RETENTION_DEFAULT = '365d';

/** Known countries are checked by hand, for the suggestion; the list here is for editors. */
const country = z
  .string()
  .meta({ description: 'ISO 3166-1 alpha-2, upper case, such as DE.', enum: [...COUNTRIES] });
const regionId = z.string().describe('A region of regions.yaml.');
const regionIds = z.array(regionId).min(1).max(REGIONS_MAX);
const because = z.string().max(500).regex(/\S/, 'is not a reason');

const attribute = z.strictObject({
  values: z
    .array(z.string().min(1).max(63))
    .min(1)
    .max(VALUES_MAX)
    .describe('Every value that it can have. Any other value is refused.'),
  default: z
    .string()
    .optional()
    .describe('Assumed when nothing is said about a subject. Without it, something must be said.'),
});

const jurisdiction = z.strictObject({
  title: z.string().min(1).max(200).optional().describe('Words for a person.'),
  countries: z
    .union([z.literal('others'), z.array(country).min(1).max(COUNTRIES_MAX)])
    .describe(
      'Country codes of ISO 3166-1 alpha-2, upper case; or the word others, in one jurisdiction at most, for every country that no other one names.',
    ),
  regions: regionIds.describe('The regions where a subject of these countries may have its home.'),
  copies: regionIds
    .optional()
    .describe(
      'Further regions that may hold declared mirrors of its subjects. Default: none beside the regions.',
    ),
});

const when = z
  .union([
    z.literal('everyone'),
    z
      .object({
        country: oneOrMore(country).optional().describe('One country or a list of them.'),
        jurisdiction: oneOrMore(z.string())
          .optional()
          .describe('One declared jurisdiction or a list of them.'),
      })
      .catchall(oneOrMore(z.string()).describe('A value of this attribute, or a list of them.')),
  ])
  .describe(
    'What must be true of the subject, all of it: country, jurisdiction or declared attributes. Or the word everyone.',
  );

const rule = z.strictObject({
  rule: word('a name for a rule').describe('A name for this rule; receipts and answers use it.'),
  when,
  home: regionId.describe('The region that becomes the home of a subject this rule matches.'),
  because: because.optional().describe('Why, in words that can be shown to the person concerned.'),
});

const mirror = z.strictObject({
  as: identifier('a table name').describe('The name under which other regions read it.'),
  columns: z
    .array(identifier('a column name'))
    .min(1)
    .max(COLUMNS_MAX)
    .describe('The columns that leave, the subject column among them. No others do.'),
  rows: z
    .record(identifier('a column name'), oneOrMore(z.union([z.string(), z.number(), z.boolean()])))
    .optional()
    .describe(
      'Only rows in which these columns, all of which must be among those that leave, have these values. Default: all rows.',
    ),
  homes: regionIds.describe('The homes whose rows leave.'),
  to: regionIds.describe('The regions that may hold the copy.'),
});

const table = z
  .strictObject({
    subject: identifier('a column name')
      .optional()
      .describe('The column that holds the id of the person the row belongs to.'),
    transit: z
      .enum(['proxy', 'redirect'])
      .optional()
      .describe(
        'May a request body pass through an edge abroad? proxy: yes, on to the home. redirect: no, the client is sent to the home before the body is read.',
      ),
    mirrors: z
      .array(mirror)
      .min(1)
      .max(MIRRORS_MAX)
      .optional()
      .describe('What may also be read outside the home. Default: nothing.'),
    reference: z
      .strictObject({
        owner: regionId.describe('The one region that writes it; every region has a copy.'),
      })
      .optional()
      .describe('For tables about nobody in particular, instead of subject.'),
  })
  .meta({
    // Editors see the two kinds; our own complaint about a mixture is made by hand.
    anyOf: [{ required: ['subject', 'transit'] }, { required: ['reference'] }],
  });

export const PolicyFile = z
  .strictObject({
    version: z
      .int()
      .min(1)
      .max(2 ** 31 - 1)
      .describe('Grows with every change of this file; regions record which one they run.'),
    because: because.describe('Why this version exists.'),
    effective: z.iso
      .date('is not a date such as 2026-11-01')
      .refine((day) => day >= EFFECTIVE_MIN, 'is before the year 2000')
      .describe('The first day on which this version may be applied, as YYYY-MM-DD.'),
    attributes: z
      .record(word('a name for an attribute'), attribute)
      .optional()
      .describe('Verified facts about a subject, beside its country, that rules may test.'),
    jurisdictions: z
      .record(word('a name for a jurisdiction'), jurisdiction)
      .describe('Countries under one law, and the regions that this law allows.'),
    placement: z
      .array(rule)
      .min(1)
      .max(RULES_MAX)
      .describe('In order: the first rule that matches a subject decides its home.'),
    tables: z
      .record(identifier('a table name'), table)
      .describe("Every table of the app's database. A table that is not named here is refused."),
    failover: z
      .strictObject({
        scope: z
          .enum(['region', 'jurisdiction'])
          .describe(
            'Who may take over for a lost region. region: its own replicas only. jurisdiction: also another region in which all its subjects may live.',
          ),
        commits: z
          .enum(['synchronous', 'quorum', 'asynchronous'])
          .optional()
          .describe(
            'Who has a write before it is acknowledged. synchronous (the default): a standby. quorum: one of several standbys. asynchronous: nobody, and a failover may lose the last writes.',
          ),
        possibleLoss: z
          .string()
          .min(1)
          .max(500)
          .optional()
          .describe(
            'Needed with asynchronous, and only there: which loss is accepted, and who accepts it.',
          ),
        sites: z
          .record(regionId, z.array(z.string().max(63)).min(1).max(SITES_MAX))
          .optional()
          .describe(
            'For a region whose nodes stand at several sites: all sites that may hold its data, and that its primary may move to.',
          ),
        betweenSites: z
          .enum(['order', 'automatic'])
          .optional()
          .describe(
            'Who moves a primary to another site. order (the default): an operator, with relocate-primary. automatic: also the keeper, when the primary is gone and a standby there has everything.',
          ),
      })
      .describe('What may happen when a region is lost.'),
    idempotency: z
      .strictObject({
        retention: z
          .string()
          .regex(DURATION, 'is not a duration such as 90m, 24h or 7d')
          .describe(
            'How long stored answers are kept so that a retry happens once: a whole number with s, m, h or d.',
          ),
      })
      .describe('Records that make a retried write happen once. They may hold personal data.'),
    consistency: z
      .string()
      .refine((text) => readLevel(text).kind === 'level', `is none of: ${LEVELS}`)
      .optional()
      .describe(
        'How fresh answers are where neither request nor route says so: session (the default), strong, bounded; max-staleness=2s, or eventual.',
      ),
    receipts: z
      .strictObject({
        keep: z
          .array(z.enum(RECEIPT_KINDS))
          .max(RECEIPT_KINDS.length)
          .optional()
          .describe(
            'Which decisions leave a receipt. Default: place, refuse and redirect. With forward, a read from abroad causes a write at home.',
          ),
        retention: z
          .string()
          .regex(DURATION, 'is not a duration such as 90m, 24h or 7d')
          .optional()
          .describe(`How long receipts are kept. Default: ${RECEIPT_RETENTION_DEFAULT}.`),
      })
      .optional()
      .describe('A chained record of decisions, at home and without personal data.'),
  })
  .meta({
    title: 'Domicile residency policy',
    description: 'Where the data of whom may be.',
  });

export type PolicyFile = z.infer<typeof PolicyFile>;
export type TableFile = PolicyFile['tables'][string];
export type MirrorFile = NonNullable<TableFile['mirrors']>[number];

/** `24h` in milliseconds; undefined for anything else. */
export function durationMs(text: string): number | undefined {
  const unit = UNIT_MS[text.at(-1) ?? ''];
  return DURATION.test(text) && unit !== undefined ? Number(text.slice(0, -1)) * unit : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
