/** Which toxics are there? */
import type { ToxicKind } from '../stage.ts';
import { bandwidth } from './bandwidth.ts';
import { latency } from './latency.ts';
import { limitData } from './limit-data.ts';
import { noop } from './noop.ts';
import { resetPeer } from './reset-peer.ts';
import { slicer } from './slicer.ts';
import { slowClose } from './slow-close.ts';
import { timeout } from './timeout.ts';

export const TOXIC_KINDS: ReadonlyMap<string, ToxicKind> = new Map(
  [bandwidth, latency, limitData, noop, resetPeer, slicer, slowClose, timeout].map((kind) => [
    kind.type,
    kind,
  ]),
);
