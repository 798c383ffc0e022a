/**
 * What does the console show?
 *
 * One edge's view of everything, made of what it sees itself and what its peers tell it, as plain
 * JSON. Nothing of it names a person: subjects are keyed hashes, routes are patterns.
 */
import type { RecordedRefusal, RecordedSpan } from '../telemetry/telemetry.ts';

export type ConsoleRole = 'viewer' | 'operator';

/** The whole picture; sent as a server-sent event `state` once a second. */
export type ConsoleState = {
  /** Milliseconds since the epoch, of the edge that answers. */
  atMs: number;
  /** The edge that answers. */
  edge: { region: string; version: string; startedAtMs: number };
  /** Whether the edge that answers records traces and refusals. */
  telemetry?: 'on' | 'off';
  operator: { name: string; role: ConsoleRole };
  policy: PolicyView;
  regions: readonly RegionView[];
  links: readonly LinkView[];
  /** Newest first. */
  failovers: readonly FailoverView[];
  /** What somebody announced that is being done to this system, newest first. */
  experiments: readonly ExperimentView[];
};

export type PolicyView = {
  /** In force at the edge that answers. */
  version: number;
  sha256: string;
  source: string;
  /** Regions whose edges have another version or another text in force. */
  drift: readonly { region: string; version: number; sha256: string }[];
};

export type RegionView = {
  id: string;
  /** The catalogue's words for it. */
  title?: string;
  /** Where its name is drawn: degrees, north and east positive. */
  place: { latitude: number; longitude: number };
  edge:
    | {
        kind: 'here' | 'answers';
        roundTripMs: number;
        traffic: Traffic;
        /** Whether it records traces and refusals; undefined: it does not say. */
        telemetry?: 'on' | 'off' | undefined;
        /** Its operators file changed to what is none; whoever was let in before is, so long. */
        operatorsBrokenForMs?: number | null | undefined;
      }
    | { kind: 'silent'; forMs: number; why: string };
  nodes: readonly NodeView[];
  /** Undefined where the region has none, or where none can be asked. */
  keeper:
    | { kind: 'says'; primary: string; alone: boolean; pending: string | null; why: string | null }
    | { kind: 'silent'; why: string }
    | { kind: 'none' };
};

export type NodeView = {
  name: string;
  site: string;
  /** As the edge of the region has seen it last. */
  health: 'serves' | 'lags' | 'silent' | 'unknown';
  /** `replaced`: says that it is primary, and another one has taken over: nothing is sent to it. */
  role: 'primary' | 'replica' | 'replaced' | 'unknown';
  timeline: number | null;
  lsn: string | null;
  lagBytes: number | null;
  /** Age of what it shows, milliseconds; 0 for a primary. */
  ageMs: number | null;
  seenMsAgo: number | null;
};

/** From whom to whom data or requests go. */
export type LinkView = {
  kind: 'replication' | 'mirror' | 'hop';
  /** A node, or a region's edge for `hop`; a region for `mirror`. */
  from: string;
  to: string;
  health: 'well' | 'slow' | 'broken' | 'unknown';
  /** Age of what arrived last, or round trip of a hop. */
  ms: number | null;
};

/** What an edge did: each series has one value for each second, oldest first, ending now. */
export type Traffic = {
  seconds: number;
  /** Decisions in each second by kind: serve, forward, redirect, refuse … */
  decisions: Readonly<Record<string, readonly number[]>>;
  /** Of the last minute, milliseconds; undefined where there was no request. */
  latency: { p50Ms: number; p95Ms: number; p99Ms: number; requests: number } | null;
  /** How reads were placed in the last minute: rung of the freshness ladder to count. */
  rungs: Readonly<Record<string, number>>;
  /** Refusals of the last minute by reason. */
  refusals: Readonly<Record<string, number>>;
};

export type FailoverView = {
  region: string;
  /** ISO 8601. */
  at: string;
  /** Version of the keeper's record. */
  version: number;
  /** One sentence. */
  what: string;
  primary: string;
  timeline: number;
};

export type ExperimentView = {
  id: string;
  /** What is shown: the name of a scenario. */
  name: string;
  startedAtMs: number;
  /** Null while it runs. */
  endedAtMs: number | null;
  verdict: string | null;
  faults: readonly {
    what: string;
    /** Regions, nodes or links that it concerns. */
    where: readonly string[];
    fromMs: number;
    /** Null while it lasts. */
    toMs: number | null;
  }[];
};

/** `GET /console/sign-in/ways`, for everybody: at whose page one may sign in. */
export type WaysAnswer = { ways: readonly { title: string }[] };

/** `GET /console/api/refusals`: of the edge that answers, newest first. */
export type RefusalsAnswer = {
  /** Off: nothing is recorded, which is why there are none. */
  telemetry?: 'on' | 'off';
  refusals: readonly RecordedRefusal[];
};

/** `GET /console/api/traces`: of the edge that answers, newest first, without their spans. */
export type TracesAnswer = {
  telemetry?: 'on' | 'off';
  traces: readonly {
    traceId: string;
    startedAtMs: number;
    durationMs: number;
    method: string;
    route: string | null;
    status: number;
    decision: string | null;
    to: string | null;
    rung: string | null;
    subject: string | null;
    spans: number;
  }[];
};

/** `GET /console/api/traces/:traceId`: what all edges that answer have of it. */
export type TraceAnswer = {
  trace: { traceId: string; spans: readonly SpanView[] };
  /** One for each region that has told something of it, or should have. */
  parts: readonly PartView[];
};

/** Times are by the clock of the edge that the client met. */
export type SpanView = RecordedSpan & { region: string };

export type PartView = { region: string } & PartSays;
type PartSays =
  /** By how much its clock differs at least, in milliseconds; 0 where nothing shows that it does. */
  | { kind: 'told'; movedMs: number }
  /** It keeps nothing of this trace, or not any more, though the request was sent there. */
  | { kind: 'forgotten' }
  /** It records nothing. */
  | { kind: 'off' }
  /** `isPart`: whether the other spans say that it had a part in it. */
  | { kind: 'silent'; isPart: boolean; why: string };

/**
 * `POST /console/api/subjects/explain`, for operators: who is asked for by directory key or by the
 * keyed hash that telemetry shows, never in a URL.
 */
export type SubjectQuestion = { subject: string };
export type SubjectAnswer =
  | {
      kind: 'found';
      /** The keyed hash. */
      subject: string;
      /** Undefined where only the hash was seen in recent traces. */
      home: string | null;
      /** Why it is there, and what the policy lets others do with it. */
      because: readonly string[];
      /** How requests for it were decided lately. */
      recent: TracesAnswer['traces'];
    }
  | { kind: 'not-found'; why: string };
