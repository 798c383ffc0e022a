/**
 * Which scenarios are there?
 *
 * Each is a file in `scenarios/`. Those of the quick set are run with every change.
 */
import type { Scenario } from './scenario.ts';
import { AIRLOCK_KILLED } from './scenarios/airlock-killed.ts';
import { ASYMMETRIC_LOSS } from './scenarios/asymmetric-loss.ts';
import { CLOCK_JUMPS } from './scenarios/clock-jumps.ts';
import { CUT_INSIDE_COMMIT_REPLY } from './scenarios/cut-inside-commit-reply.ts';
import { DOUBLE_FAILURE } from './scenarios/double-failure.ts';
import { EDGE_KILLED } from './scenarios/edge-killed.ts';
import { FEEDS_SLICED } from './scenarios/feeds-sliced.ts';
import { FLAPPING_LINK } from './scenarios/flapping-link.ts';
import { HALF_OPEN_LINKS } from './scenarios/half-open-links.ts';
import { IDLE_LINK_DROPS } from './scenarios/idle-link-drops.ts';
import { KEEPER_KILLED_IN_PROMOTION } from './scenarios/keeper-killed-in-promotion.ts';
import { LOSS_ACCEPTED } from './scenarios/loss-accepted.ts';
import { MANY_HANDS_ONE_SESSION } from './scenarios/many-hands-one-session.ts';
import { PARTITION_US_EU } from './scenarios/partition-us-eu.ts';
import { POLICY_UNDER_LOAD } from './scenarios/policy-under-load.ts';
import { PRIMARY_FROZEN } from './scenarios/primary-frozen.ts';
import { PRIMARY_FROZEN_ALONE } from './scenarios/primary-frozen-alone.ts';
import { PRIMARY_ISOLATED } from './scenarios/primary-isolated.ts';
import { PRIMARY_KILLED } from './scenarios/primary-killed.ts';
import { PRIMARY_KILLED_UNHEARD } from './scenarios/primary-killed-unheard.ts';
import { PRIMARY_RESTARTED_WHILE_ISOLATED } from './scenarios/primary-restarted-while-isolated.ts';
import { READERS_MEET_OLD_REPLICAS } from './scenarios/readers-meet-old-replicas.ts';
import { REGION_DARK } from './scenarios/region-dark.ts';
import { REGION_SLOW } from './scenarios/region-slow.ts';
import { REGION_UNREACHABLE } from './scenarios/region-unreachable.ts';
import { REPLICA_DISCONNECTED } from './scenarios/replica-disconnected.ts';
import { REPLICA_LAGS } from './scenarios/replica-lags.ts';
import { REPLICA_PAUSES_REPLAY } from './scenarios/replica-pauses-replay.ts';
import { REPLICA_STANDS_STILL } from './scenarios/replica-stands-still.ts';
import { REPLY_CUT_WITHOUT_KEY } from './scenarios/reply-cut-without-key.ts';
import { RESET_IN_COMMIT } from './scenarios/reset-in-commit.ts';
import { RESET_IN_HOP } from './scenarios/reset-in-hop.ts';
import { SLOW_PRIMARY } from './scenarios/slow-primary.ts';
import { SWITCHOVER_UNDER_LOAD } from './scenarios/switchover-under-load.ts';

export const SCENARIOS: readonly Scenario[] = [
  PARTITION_US_EU,
  PRIMARY_KILLED,
  PRIMARY_KILLED_UNHEARD,
  PRIMARY_FROZEN,
  PRIMARY_FROZEN_ALONE,
  PRIMARY_ISOLATED,
  PRIMARY_RESTARTED_WHILE_ISOLATED,
  REPLICA_LAGS,
  REPLICA_PAUSES_REPLAY,
  REPLICA_STANDS_STILL,
  READERS_MEET_OLD_REPLICAS,
  MANY_HANDS_ONE_SESSION,
  REPLICA_DISCONNECTED,
  HALF_OPEN_LINKS,
  RESET_IN_COMMIT,
  RESET_IN_HOP,
  CUT_INSIDE_COMMIT_REPLY,
  REPLY_CUT_WITHOUT_KEY,
  ASYMMETRIC_LOSS,
  FLAPPING_LINK,
  SLOW_PRIMARY,
  EDGE_KILLED,
  KEEPER_KILLED_IN_PROMOTION,
  LOSS_ACCEPTED,
  DOUBLE_FAILURE,
  REGION_DARK,
  REGION_UNREACHABLE,
  REGION_SLOW,
  POLICY_UNDER_LOAD,
  CLOCK_JUMPS,
  IDLE_LINK_DROPS,
  SWITCHOVER_UNDER_LOAD,
  AIRLOCK_KILLED,
  FEEDS_SLICED,
];

/** Together at most five minutes, the start of the world included. */
export const QUICK: readonly Scenario[] = [
  PARTITION_US_EU,
  PRIMARY_KILLED,
  PRIMARY_ISOLATED,
  REPLICA_PAUSES_REPLAY,
  CUT_INSIDE_COMMIT_REPLY,
];
