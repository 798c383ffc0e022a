/**
 * What does an edge tell about its work, and to whom?
 *
 * The shape only, which costs nothing to load: `open-telemetry.ts` fills it where telemetry is on.
 * Where it is off every request has the same silent trace. Nothing here takes a value that came
 * with a request: decisions, names of nodes, routes and tables are the vocabulary.
 */
import type { PassedOver } from '../../policies/place-read.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import type { Visit } from '../visit.ts';
import type { Part } from './names.ts';

/** Set by one edge for another, beside `traceparent`: the trace is of an edge, not of a client. */
export const HOP_TRACE_HEADER = 'domicile-trace';

/** The trace that an answer belongs to (W3C Trace Context, level 2). */
export const TRACE_RESPONSE_HEADER = 'traceresponse';

/** Whether the trace of a client goes on here; otherwise each request begins one of its own. */
export type ClientTraces = 'new' | 'continue';

export type TelemetrySettings = {
  enabled: boolean;
  /** Part of the traces that is recorded, from 0 to 1. */
  traceRatio: number;
  clientTraces: ClientTraces;
  /** Where the collector is; undefined: nothing leaves this process by itself. */
  otlpEndpoint: string | undefined;
  otlpProtocol: 'http/protobuf' | 'http/json';
  metricsEveryMs: number;
  /** `host:port` on which `/metrics` is answered, and nothing else. */
  metricsListen: { host: string; port: number } | undefined;
  /** How often each node is asked for its statistics. */
  statsEveryMs: number;
};

export type Attribute = string | number | boolean | readonly string[];
export type Attributes = Readonly<Record<string, Attribute | undefined>>;

/** What a request does with a database, from asking for a connection until the answer. */
export type SqlCall = {
  /** A connection is there. */
  begins: () => void;
  /** `error` names what went wrong in one word; `sqlstate` where PostgreSQL said no. */
  ended: (error?: string, sqlstate?: string) => void;
};

export type SqlTarget = {
  operation: 'read' | 'write';
  node: string;
  login: string;
  host: string;
  port: number;
  database: string;
};

/** A question of the router's own to another region, by the pattern of its route. */
export type Question = { method: string; route: string };

export type HopCall = {
  /** Header fields for the peer. */
  fields: Readonly<Record<string, string>>;
  ended: (outcome: { status: number } | { error: string }) => void;
};

/** One request as telemetry sees it. */
export interface Trace {
  /** In hexadecimal, where the request is recorded. */
  readonly ids: { traceId: string; spanId: string } | undefined;
  /** A part that has taken so long and ends now. */
  took(part: Part, ms: number, attributes?: Attributes): void;
  /** It is known where the request is handled. */
  decided(visit: Visit): void;
  sql(target: SqlTarget): SqlCall;
  hop(to: RegionId): HopCall;
  question(to: RegionId, question: Question): HopCall;
  /** The pattern of the route that was met. */
  met(route: string): void;
  end(visit: Visit, status: number): void;
}

export interface Telemetry {
  begin(request: BeginsWith): Trace;
  /** Newest first. */
  recentTraces(): readonly RecordedTrace[];
  /** Newest first. */
  lastRefusals(): readonly RecordedRefusal[];
  metricsSnapshot(): Promise<readonly MetricSnapshot[]>;
  /** The text format of Prometheus. */
  prometheusText(): Promise<string>;
  /** What stands for a subject in telemetry, from its directory key. */
  subjectName(directoryKey: string): string;
  stop(): Promise<void>;
}

export type BeginsWith = {
  method: string;
  scheme: string;
  startedAtMs: number;
  traceparent: string | undefined;
  /** Whether `traceparent` is to be believed: a peer sent it with a genuine hop. */
  believed: boolean;
};

export type RecordedSpan = {
  spanId: string;
  parentSpanId: string | undefined;
  name: string;
  kind: 'server' | 'client' | 'internal';
  /** Milliseconds since the epoch. */
  startedAtMs: number;
  durationMs: number;
  error: boolean;
  attributes: Attributes;
};

export type RecordedTrace = {
  traceId: string;
  /** In the order of their beginning; the first is the request's own. */
  spans: readonly RecordedSpan[];
};

export type RecordedRefusal = {
  /** Milliseconds since the epoch. */
  atMs: number;
  because: string;
  method: string;
  route: string | undefined;
  status: number;
  home: RegionId | undefined;
  passedOver: readonly PassedOver[];
  traceId: string | undefined;
};

export type HistogramValue = {
  count: number;
  sum: number;
  /** Upper bounds, and how many fell below each; one more count for those above all. */
  bounds: readonly number[];
  counts: readonly number[];
};

export type MetricSnapshot = {
  name: string;
  unit: string;
  points: readonly { attributes: Attributes; value: number | HistogramValue }[];
};

const NO_SQL: SqlCall = { begins: () => {}, ended: () => {} };
const NO_HOP: HopCall = { fields: {}, ended: () => {} };

export const NO_TRACE: Trace = {
  ids: undefined,
  took: () => {},
  decided: () => {},
  sql: () => NO_SQL,
  hop: () => NO_HOP,
  question: () => NO_HOP,
  met: () => {},
  end: () => {},
};

/** Methods of HTTP; what else a client writes there is its own word. */
const METHODS: ReadonlySet<string> = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'QUERY'],
]);

export function methodName(method: string): string {
  return METHODS.has(method) ? method : '_OTHER';
}
