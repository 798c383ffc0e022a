/**
 * Do the receipts of every region still say what they said?
 *
 * The chain is checked in `router/receipt-chain.ts`, against what every other region remembers of
 * it. Here its words become findings of an audit.
 */
import type { Policy } from '../../policies/policy.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { LeasePool } from '../../regions/postgres.ts';
import { type Ask, checkReceiptChain, type ReceiptFinding } from '../receipt-chain.ts';
import { type AuditedWorld, primaryOf } from './audited-world.ts';
import type { Finding } from './finding.ts';
import { NoPrimary } from './row-homes.ts';
import type { Probe } from './run-audit.ts';

/** One batch of a long chain. */
const STATEMENT_MS_MAX = 60_000;
const CONNECT_MS_MAX = 10_000;

export function receiptProbes(world: AuditedWorld, policy: Policy): Probe[] {
  return [...world.catalogue.regions.keys()].map((region) => ({
    name: `receipts of ${region}`,
    run: () => checkRegion(world, policy, region),
  }));
}

async function checkRegion(world: AuditedWorld, policy: Policy, region: RegionId) {
  const pools: LeasePool[] = [];
  const asks = new Map<RegionId, Ask>();
  const mute: RegionId[] = [];
  try {
    for (const one of world.catalogue.regions.values()) {
      const primary = await primaryOf(world, one);
      if (primary === undefined) {
        mute.push(one.id);
        continue;
      }
      const pool = new LeasePool({
        endpoint: world.superuser(primary),
        connectionsMax: 1,
        waitersMax: 4,
        connectTimeoutMs: CONNECT_MS_MAX,
        settings: { application_name: 'domicile audit' },
      });
      pools.push(pool);
      asks.set(one.id, (query) => pool.run(query, { timeoutMs: STATEMENT_MS_MAX }));
    }
    const home = asks.get(region);
    if (home === undefined) throw new NoPrimary(region);
    asks.delete(region);
    const { retentionMs } = policy.receipts;
    const report = await checkReceiptChain({ region, home, witnesses: asks, retentionMs });
    const findings = report.findings.map((finding): Finding => {
      const words = `${region}: ${sentence(finding)}`;
      return { kind: 'receipts', region, at: `${region}, domicile.receipts`, words };
    });
    const more = report.findingsTotal - findings.length;
    if (more > 0) {
      const words = `${region}: ${more} more findings about its receipts`;
      findings.push({ kind: 'receipts', region, at: `${region}, domicile.receipts`, words });
    }
    const silent = [...mute, ...report.silent];
    return {
      findings,
      looked: report.receipts,
      ...(silent.length > 0 && {
        because: `${silent.join(', ')} could not be asked what it remembers of ${region}'s receipts, so a cut tail that only it knows of is not found`,
      }),
    };
  } finally {
    await Promise.all(pools.map((pool) => pool.close({ timeoutMs: 1_000 })));
  }
}

function sentence(finding: ReceiptFinding): string {
  switch (finding.kind) {
    case 'receipt-altered':
      return `receipt ${finding.receipt} does not say what seal ${finding.seal} holds of it`;
    case 'receipt-reordered':
      return `receipt ${finding.receipt} says what seal ${finding.seal} holds of another receipt`;
    case 'receipt-missing':
      return `receipt ${finding.receipt} of seal ${finding.seal} is gone`;
    case 'receipt-inserted':
      return `receipt ${finding.receipt} was put in: no seal covers it, and it does not wait for one`;
    case 'receipt-sealed-twice':
      return `receipt ${finding.receipt} is sealed once more by seal ${finding.seal}`;
    case 'receipt-unsealed':
      return `receipt ${finding.receipt} has had no seal for ${finding.forMs} ms`;
    case 'seal-altered':
      return `seal ${finding.seal} is not the hash of what it holds`;
    case 'chain-broken':
      return `seal ${finding.seal} does not continue the seal before it`;
    case 'seal-missing':
      return `the seals ${finding.seal} to ${finding.upTo} are gone`;
    case 'tail-cut':
      return `the chain ends at seal ${finding.head ?? 'none'}, but ${finding.witness} remembers seal ${finding.remembered}`;
    case 'head-forked':
      return `${finding.witness} remembers another seal ${finding.seal} than the one that is there`;
    case 'forgotten-too-early':
      return `${finding.witness} remembers seal ${finding.seal}, which is gone before the policy lets it go`;
  }
}
