/**
 * Has one primary at a time acknowledged?
 *
 * What follows from the outside: an acknowledgement says which node gave it, and was given between the
 * sending and the answer. If one node acknowledges, then another, then the first one again, and none
 * of these overlap, then the primary has changed twice. So there is a least number of changes that
 * explains who acknowledged when; more than took place means that two primaries acknowledged at once.
 * Without the number of changes that took place nothing follows, because a switchover and its return
 * look the same. That an old primary's writes are lost later is found by others.
 */
import type { History, Operation } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { isWrite, upsert } from './contents.ts';
import { idsOf, inWords } from './in-words.ts';
import { judgement } from './judgement.ts';

export type OneEpochOptions = {
  /** By home: how often another node became its primary during the run. */
  changesOfPrimary?: Readonly<Record<string, number>>;
};

export function oneEpoch(
  { operations }: History,
  { changesOfPrimary }: OneEpochOptions = {},
): Judgement {
  const homes = new Map<string, Acknowledgement[]>();
  for (const operation of operations) {
    const node = acknowledgedBy(operation);
    if (node === undefined) continue;
    upsert(homes, operation.home, () => []).push({ node, operation });
  }
  const violations: Violation[] = [];
  const undecided: string[] = [];
  let checked = 0;
  for (const [home, acknowledgements] of homes) {
    checked += acknowledgements.length;
    const took = changesOfPrimary?.[home] ?? 0;
    const inTurn = longestChain(acknowledgements);
    const nodes = firstOfEachNode(acknowledgements);
    // Even where all overlap, as many nodes were primary as have acknowledged.
    const chain = inTurn.length >= nodes.length ? inTurn : nodes;
    if (chain.length - 1 <= took) continue;
    if (changesOfPrimary === undefined) {
      undecided.push(`${chain.length - 1} changes of the primary of ${home} that nobody counted`);
      continue;
    }
    // As many as are needed to show one change too many.
    const shown = chain.slice(0, took + 2).map(({ operation }) => operation);
    violations.push({
      promise: 'one primary at a time acknowledges',
      says: `The primary of ${home} changed ${took} times, and for these to be acknowledged it must have changed ${shown.length - 1} times: ${chain
        .slice(0, took + 2)
        .map(({ node, operation }) => `by ${node}: ${inWords(operation)}`)
        .join('; ')}.`,
      operations: idsOf(shown),
    });
  }
  return judgement({
    judge: 'one-epoch',
    checked,
    violations,
    nothing: 'no answer told which node acknowledged it',
    undecided: undecided.length === 0 ? undefined : undecided.join('; '),
  });
}

type Acknowledgement = { node: string; operation: Operation };

/** The node of the home that has committed for this answer. */
function acknowledgedBy(operation: Operation): string | undefined {
  const { outcome, told, level, home } = operation;
  if (outcome.kind !== 'ok' || outcome.shown.kind === 'unchanged') return undefined;
  if (!isWrite(operation) && level !== 'strong') return undefined;
  // Of a region without a node nothing was asked.
  return told?.servedBy?.startsWith(`${home}/`) === true ? told.servedBy : undefined;
}

/**
 * Acknowledgements of which each was over before the next one was sent, and each by another node than
 * the one before. Taking whoever ends first is as long as any.
 */
function longestChain(acknowledgements: readonly Acknowledgement[]): Acknowledgement[] {
  const byEnd = [...acknowledgements].sort((a, b) => a.operation.endedAtMs - b.operation.endedAtMs);
  let best: Acknowledgement[] = [];
  for (const first of firstOfEachNode(byEnd)) {
    const chain = [first];
    for (const next of byEnd) {
      const last = chain[chain.length - 1] as Acknowledgement;
      if (next.node === last.node) continue;
      if (next.operation.invokedAtMs > last.operation.endedAtMs) chain.push(next);
    }
    if (chain.length > best.length) best = chain;
  }
  return best;
}

function firstOfEachNode(acknowledgements: readonly Acknowledgement[]): Acknowledgement[] {
  const nodes = new Map<string, Acknowledgement>();
  for (const each of acknowledgements) if (!nodes.has(each.node)) nodes.set(each.node, each);
  return [...nodes.values()];
}
