/**
 * Is this file the record of a chaos run?
 *
 * Complaints name what is wrong and where. JSON has no `undefined`: what was lost in lists and fields
 * on the way to the file is put back, so a report drawn again is the same to the byte.
 */
import * as z from 'zod';
import type { RunRecord } from '../run-record.ts';
import { reportHtml } from './html-report.ts';

export type ReadRecord =
  | { kind: 'record'; record: RunRecord }
  | { kind: 'not-a-record'; complaints: readonly string[] };

/** More would bury the first, which often explains the others. */
const COMPLAINTS_MAX = 8;

const ms = z.number();
const text = z.string();
const value = z.number();
const maybeValue = z
  .number()
  .nullish()
  .transform((found) => found ?? undefined);
const texts = z.array(text);

const step = z.discriminatedUnion('do', [
  z.object({ do: z.literal('append'), list: text, value }),
  z.object({ do: z.literal('read'), list: text }),
]);

const action = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('lists'), steps: z.array(step) }),
  z.object({ kind: z.literal('register-read'), register: text }),
  z.object({ kind: z.literal('register-write'), register: text, value }),
  z.object({ kind: z.literal('register-swap'), register: text, expected: maybeValue, value }),
  z.object({ kind: z.literal('order'), product: text, quantity: z.number(), value }),
  z.object({ kind: z.literal('stock-read'), product: text }),
  z.object({ kind: z.literal('notice-read') }),
  z.object({ kind: z.literal('notice-write'), value }),
  z.object({ kind: z.literal('create'), country: text }),
]);

const ordered = z.array(z.object({ value, quantity: z.number() }));
const list = z
  .array(value)
  .nullish()
  .transform((found) => found ?? undefined);

const shown = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('lists'), lists: z.array(list) }),
  z.object({ kind: z.literal('register'), value: maybeValue }),
  z.object({
    kind: z.literal('unchanged'),
    because: z.enum(['not-equal', 'out-of-stock']),
    found: maybeValue,
  }),
  z.object({ kind: z.literal('stock'), left: z.number(), ordered }),
  z.object({ kind: z.literal('nothing') }),
]);

const outcome = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ok'), shown }),
  z.object({ kind: z.literal('fail'), because: text }),
  z.object({ kind: z.literal('unknown'), because: text }),
]);

const told = z.object({
  status: z.number(),
  servedBy: text.optional(),
  decision: text.optional(),
  consistency: text.optional(),
  stalenessMs: z.number().optional(),
  durability: text.optional(),
  policy: text.optional(),
  replayed: z.boolean().optional(),
  problem: text.optional(),
});

const operation = z
  .object({
    id: z.int().min(0),
    client: z.number(),
    session: z.number(),
    subject: text,
    home: text,
    edge: text,
    action,
    level: z.enum(['session', 'strong', 'bounded', 'eventual']),
    maxStalenessMs: z.number().optional(),
    keyed: z.boolean(),
    attempts: z.number(),
    invokedAtMs: ms,
    endedAtMs: ms,
    outcome,
    told: told.optional(),
    guaranteeLost: z.boolean().optional(),
  })
  .refine(({ invokedAtMs, endedAtMs }) => endedAtMs >= invokedAtMs, {
    path: ['endedAtMs'],
    message: 'lies before invokedAtMs',
  });

const settled = z.object({
  subject: text,
  lists: z.record(text, z.array(value)),
  registers: z.record(text, value),
  stock: z.record(text, z.object({ left: z.number(), ordered })),
  notice: maybeValue,
});

const verdict = z.enum(['holds', 'broken', 'inconclusive']);

const record = z.object({
  format: z.literal(1),
  scenario: text,
  claim: text,
  seed: z.number(),
  command: text,
  notRepeated: text,
  startedAt: text,
  durationMs: z.number().min(0),
  regions: z.array(z.object({ id: text, title: text, edges: texts, nodes: texts })),
  toxiproxy: text,
  faults: z.array(
    z
      .object({
        says: text,
        kind: text,
        regions: texts,
        fromMs: ms,
        untilMs: ms.optional(),
        evidence: text.optional(),
      })
      .refine(({ fromMs, untilMs }) => untilMs === undefined || untilMs >= fromMs, {
        path: ['untilMs'],
        message: 'lies before fromMs',
      }),
  ),
  incidents: z.array(z.object({ atMs: ms, region: text.optional(), says: text })),
  looks: z.array(
    z.object({
      atMs: ms,
      region: text,
      primary: text.optional(),
      timeline: z.number().optional(),
      alone: z.boolean().optional(),
      lagBytes: z.record(text, z.number()).optional(),
    }),
  ),
  history: z.object({
    operations: z.array(operation),
    settled: z.array(settled),
    acceptedLosses: z.array(z.object({ home: text, atMs: ms, by: text, doneAtMs: ms.optional() })),
  }),
  bit: z.object({ bit: z.boolean(), evidence: texts }),
  judgements: z.array(
    z.object({
      judge: text,
      verdict,
      checked: z.number(),
      violations: z.array(z.object({ promise: text, says: text, operations: z.array(z.number()) })),
      why: text.optional(),
    }),
  ),
  verdict: z.enum([...verdict.options, 'void']),
});

export function readRecord(json: string): ReadRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { kind: 'not-a-record', complaints: [`It is not JSON: ${why}`] };
  }
  const format =
    typeof parsed === 'object' && parsed !== null && 'format' in parsed ? parsed.format : undefined;
  if (format === undefined)
    return {
      kind: 'not-a-record',
      complaints: ['It is no record of a chaos run: it has no "format".'],
    };
  if (format !== 1)
    return {
      kind: 'not-a-record',
      complaints: [
        `Its format is ${JSON.stringify(format).slice(0, 40)}, and only 1 can be drawn.`,
      ],
    };
  const read = record.safeParse(parsed);
  if (!read.success) {
    const { issues } = read.error;
    const named = issues
      .slice(0, COMPLAINTS_MAX)
      .map(({ path, message }) => `${at(path)}: ${message}`);
    const left = issues.length - named.length;
    return {
      kind: 'not-a-record',
      complaints: left > 0 ? [...named, `and ${left} more complaints`] : named,
    };
  }
  const strangers = unknownOperations(read.data as RunRecord);
  // The shapes above are those of RunRecord, but for optional fields, which zod allows to be undefined.
  return strangers.length === 0
    ? { kind: 'record', record: read.data as RunRecord }
    : { kind: 'not-a-record', complaints: strangers };
}

export type DrawnRecord =
  | { kind: 'drawn'; html: string }
  | { kind: 'not-a-record'; complaints: readonly string[] };

/** From the text of a record's file to the text of its report's. */
export function drawRecord(json: string): DrawnRecord {
  const read = readRecord(json);
  return read.kind === 'record' ? { kind: 'drawn', html: reportHtml(read.record) } : read;
}

function unknownOperations({ history, judgements }: RunRecord): string[] {
  const known = new Set<number>();
  for (const { id } of history.operations) {
    if (known.has(id)) return [`history.operations: two of them have the id ${id}`];
    known.add(id);
  }
  return judgements
    .flatMap(({ violations }, judge) =>
      violations.flatMap(({ operations }, index) =>
        operations
          .filter((id) => !known.has(id))
          .map((id) => `judgements[${judge}].violations[${index}]: no operation has the id ${id}`),
      ),
    )
    .slice(0, COMPLAINTS_MAX);
}

function at(path: readonly PropertyKey[]): string {
  const words = path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  return words.replace(/^\./, '') || 'the file';
}
