/**
 * Is what is left of a product and what was ordered of it always the same sum?
 *
 * Taking from the stock and noting the order is one transaction, so every single answer, however old,
 * shows both or neither. What is left is never negative, and each order is the one that was sent.
 */
import type { History, Operation } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { bySubject, upsert } from './contents.ts';
import { idsOf, inWords } from './in-words.ts';
import { judgement } from './judgement.ts';

const PROMISE = 'a transaction is done as a whole or not at all';

type Stock = { left: number; ordered: readonly { value: number; quantity: number }[] };
/** `by` is undefined for what was read in the end. */
type Look = Stock & { by: Operation | undefined };

export function stock(history: History): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  let checked = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const looks = new Map<string, Look[]>();
    const quantities = new Map<number, Operation>();
    for (const operation of operations) {
      const { action, outcome } = operation;
      if (action.kind === 'order') quantities.set(action.value, operation);
      if (action.kind !== 'stock-read' || outcome.kind !== 'ok') continue;
      if (outcome.shown.kind !== 'stock') continue;
      const { left, ordered } = outcome.shown;
      upsert(looks, action.product, () => []).push({ left, ordered, by: operation });
    }
    for (const [product, last] of Object.entries(settledOf.get(subject)?.stock ?? {})) {
      upsert(looks, product, () => []).push({ ...last, by: undefined });
    }
    for (const [product, each] of looks) {
      checked += each.length;
      violations.push(...judgeProduct(`${product} of ${subject}`, each, quantities));
    }
  }
  return judgement({
    judge: 'stock',
    checked,
    violations,
    nothing: 'no stock was read',
  });
}

function judgeProduct(
  product: string,
  looks: readonly Look[],
  sent: ReadonlyMap<number, Operation>,
): Violation[] {
  const violations: Violation[] = [];
  const bySum = new Map<number, Look[]>();
  for (const look of looks) upsert(bySum, sumOf(look), () => []).push(look);
  // Nobody says how much there was at first; most answers do.
  const [usual] = [...bySum.values()].sort((a, b) => b.length - a.length);
  for (const look of looks) {
    const { left, ordered, by } = look;
    const other = usual?.[0];
    if (other !== undefined && sumOf(look) !== sumOf(other)) {
      violations.push({
        promise: PROMISE,
        says: `Left and ordered of ${product} are ${sumOf(look)} together in one answer and ${sumOf(other)} in another: ${lookInWords(look)}; ${lookInWords(other)}.`,
        operations: idsOf([by, other.by]),
      });
    }
    if (left < 0) {
      violations.push({
        promise: PROMISE,
        says: `Of ${product} ${left} are left: ${lookInWords(look)}.`,
        operations: idsOf([by]),
      });
    }
    for (const { value, quantity } of ordered) {
      const order = sent.get(value);
      if (order?.action.kind !== 'order' || order.action.quantity === quantity) continue;
      violations.push({
        promise: PROMISE,
        says: `Order ${value} of ${product} is noted with ${quantity}: ${inWords(order)}; ${lookInWords(look)}.`,
        operations: idsOf([order, by]),
      });
    }
  }
  return violations;
}

function sumOf({ left, ordered }: Stock): number {
  return ordered.reduce((sum, { quantity }) => sum + quantity, left);
}

function lookInWords({ left, ordered, by }: Look): string {
  if (by !== undefined) return inWords(by);
  return `in the end ${left} are left and ${ordered.length} orders are noted`;
}
