/**
 * How many requests may be under way at once, as long as this edge keeps up?
 *
 * Judged by how late the process comes to what it should do now. A delay that is there in each of
 * several looks is a standing queue, which serves nobody: then fewer are let in, and clients before
 * hops, because a hop has cost another edge work already. The rule is that of TCP's congestion
 * window (down by a part, up by a step), its signal that of CoDel (RFC 8289): the least delay of an
 * interval, which a burst or one long collection of garbage does not raise.
 */

/** Looks that make an interval; at the pace of `router/admission.ts` a tenth of a second. */
const LOOKS = 4;
/** A quarter less at each interval of standing delay: from full to the least in two seconds. */
const KEPT = 0.75;
/** From the least to full in six seconds, so that an edge at its limit swings gently. */
const STEPS = 64;
/** So few requests make no standing queue by themselves. */
export const REQUESTS_MIN = 32;

export type RequestLimit = {
  clients: number;
  hops: number;
  /** Of the interval that has not ended yet. */
  looks: number;
  delayMsLeast: number;
  /** Whether the delay stood in the last whole interval. */
  behind: boolean;
};

export type Look = {
  delayMs: number;
  clientsUnderWay: number;
  hopsUnderWay: number;
};

export type LimitBounds = { requestsMax: number; delayMsMax: number };

export function openLimit({ requestsMax }: LimitBounds): RequestLimit {
  return {
    clients: requestsMax,
    hops: requestsMax,
    looks: 0,
    delayMsLeast: Number.POSITIVE_INFINITY,
    behind: false,
  };
}

export function isBehind({ behind }: RequestLimit): boolean {
  return behind;
}

export function afterLook(limit: RequestLimit, look: Look, bounds: LimitBounds): RequestLimit {
  const { clients, hops } = limit;
  const looks = limit.looks + 1;
  const delayMsLeast = Math.min(limit.delayMsLeast, look.delayMs);
  if (looks < LOOKS) return { clients, hops, looks, delayMsLeast, behind: limit.behind };
  const { requestsMax, delayMsMax } = bounds;
  const behind = delayMsLeast > delayMsMax;
  const next = { clients, hops, looks: 0, delayMsLeast: Number.POSITIVE_INFINITY, behind };
  if (behind) {
    const least = Math.min(REQUESTS_MIN, requestsMax);
    if (clients > least) next.clients = fewer(clients, look.clientsUnderWay, least);
    else next.hops = fewer(hops, look.hopsUnderWay, least);
  } else {
    const step = Math.ceil(requestsMax / STEPS);
    if (hops < requestsMax) next.hops = Math.min(requestsMax, hops + step);
    else next.clients = Math.min(requestsMax, clients + step);
  }
  return next;
}

/** A limit that nobody had reached says nothing about what can be borne; what is under way does. */
function fewer(limit: number, underWay: number, least: number): number {
  return Math.max(least, Math.floor(Math.min(limit, underWay) * KEPT));
}
