/**
 * How does what an edge or a keeper tells leave its process?
 *
 * The one door to the packages of OpenTelemetry. It is loaded where telemetry is on and nowhere else.
 * Spans are given their parents explicitly: what carries a request through this router is
 * its visit, so no context has to follow each promise.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import {
  type Context,
  type Counter,
  DiagLogLevel,
  diag,
  type Histogram,
  type Meter,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode, hrTimeToMilliseconds, parseTraceParent } from '@opentelemetry/core';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtobufMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  InstrumentType,
  MeterProvider,
  MetricReader,
  type PushMetricExporter,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { RegionId } from '../../regions/catalogue.ts';
import type { Edge } from '../edge.ts';
import type { Errand } from '../peers.ts';
import type { Visit } from '../visit.ts';
import { floorTexts } from './floor-texts.ts';
import {
  ATTRIBUTES as A,
  METRICS,
  type Metric,
  type MetricName,
  PARTS,
  type Part,
} from './names.ts';
import { OBSERVED, observe } from './observations.ts';
import { RecentRefusals } from './recent-refusals.ts';
import { RecentTraces } from './recent-traces.ts';
import type { ServerStats } from './server-stats.ts';
import {
  type Attributes,
  type BeginsWith,
  type HistogramValue,
  HOP_TRACE_HEADER,
  type HopCall,
  type MetricSnapshot,
  methodName,
  type Question,
  type RecordedSpan,
  type SqlCall,
  type SqlTarget,
  type Telemetry,
  type TelemetrySettings,
  type Trace,
} from './telemetry.ts';

export type OpenTelemetryOptions = {
  edge: Edge;
  /** Its name in the catalogue. */
  name: string;
  version: string;
  settings: TelemetrySettings;
  /** The key that names of subjects are made with is derived from this one. */
  directoryKey: Uint8Array;
  servers: ServerStats;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

/** A process that tells something. */
export type Teller = {
  service: 'domicile-edge' | 'domicile-keeper';
  name: string;
  region: RegionId;
  version: string;
  settings: TelemetrySettings;
  /** Monotonic milliseconds. */
  now: () => number;
  log: (line: Record<string, unknown>) => void;
};

/** What is read when somebody looks. */
export type Observed<Name extends string> = {
  metrics: Readonly<Record<Name, Metric>>;
  observe: () => Iterable<{ metric: Name; value: number; attributes: Attributes }>;
};

/**
 * Spans that wait for the collector: of the library's own 2,048 an edge at full sampling would lose
 * most, because it sends a batch only every five seconds. These are some 10 MB at most.
 */
const SPANS_QUEUED_MAX = 8_192;
const SPANS_BATCH_MAX = 1_024;
const SPANS_EVERY_MS = 1_000;
/** A collector that is slower than this is as good as none. */
const EXPORT_MS_MAX = 5_000;
/** Exports under way at once; the library's own 30 would hold as many batches of a silent collector. */
const EXPORTS_MAX = 2;
/** How long an edge that ends waits for its last spans to be taken. */
const STOP_MS_MAX = 1_000;
/** How often at most it is said that the collector does not take what it is sent. */
const COMPLAIN_EVERY_MS = 60_000;
/** From a millisecond, which a read at hand takes, to the longest budget that is usual. */
const SECONDS_BOUNDS = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075],
  ...[0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
];
/** A name for a subject is for telling subjects apart, not for looking them up elsewhere. */
const SUBJECT_NAME_BYTES = 12;

export function openTelemetry(options: OpenTelemetryOptions): Telemetry {
  return new OpenTelemetry(options);
}

/** For a process that has no requests, and so no traces. */
export function openMetrics<Name extends string>(
  teller: Teller,
  observed: Observed<Name>,
): Pick<Telemetry, 'prometheusText' | 'metricsSnapshot' | 'stop'> {
  complainSeldom(teller);
  const metrics = new Metrics(teller, observed);
  return {
    prometheusText: () => metrics.prometheusText(),
    metricsSnapshot: () => metrics.snapshot(),
    stop: () => inTime([metrics.shutdown()]),
  };
}

class OpenTelemetry implements Telemetry {
  readonly tracer: Tracer;
  readonly requestDuration: Histogram;
  readonly hopDuration: Histogram;
  readonly dbDuration: Histogram;
  readonly passedOver: Counter;
  readonly refusals = new RecentRefusals();
  readonly options: OpenTelemetryOptions;
  #traces = new RecentTraces();
  #tracers: TracerProvider;
  #metrics: Metrics<MetricName>;
  #subjectKey: Uint8Array;

  constructor(options: OpenTelemetryOptions) {
    this.options = options;
    const { edge, servers, settings, directoryKey } = options;
    const { here: region, now } = edge;
    const teller: Teller = { ...options, service: 'domicile-edge', region, now };
    this.#subjectKey = new Uint8Array(hkdfSync('sha256', directoryKey, '', 'telemetry', 32));
    complainSeldom(teller);
    const resource = resourceOf(teller);
    this.#tracers = new TracerProvider({
      resource,
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(settings.traceRatio) }),
      spanProcessors: [new RingProcessor(this.#traces), ...batches(settings)],
    });
    this.tracer = this.#tracers.getTracer('domicile', options.version);
    const observed = Object.fromEntries(OBSERVED.map((metric) => [metric, METRICS[metric]]));
    this.#metrics = new Metrics<MetricName>(teller, {
      metrics: observed as Record<MetricName, Metric>,
      observe: () => observe(edge, servers),
    });
    const { meter } = this.#metrics;
    this.requestDuration = histogram(meter, METRICS.requestDuration);
    this.hopDuration = histogram(meter, METRICS.hopDuration);
    this.dbDuration = histogram(meter, METRICS.dbDuration);
    const { name, help, unit } = METRICS.passedOver;
    this.passedOver = meter.createCounter(name, { description: help, unit });
  }

  begin(begins: BeginsWith): Trace {
    return new RequestTrace(this, begins);
  }

  recentTraces() {
    return this.#traces.all();
  }

  lastRefusals() {
    return this.refusals.all();
  }

  metricsSnapshot(): Promise<MetricSnapshot[]> {
    return this.#metrics.snapshot();
  }

  prometheusText(): Promise<string> {
    return this.#metrics.prometheusText();
  }

  subjectName(directoryKey: string): string {
    const mac = createHmac('sha256', this.#subjectKey).update(directoryKey).digest();
    return mac.subarray(0, SUBJECT_NAME_BYTES).toString('base64url');
  }

  stop(): Promise<void> {
    return inTime([this.#tracers.shutdown(), this.#metrics.shutdown()]);
  }
}

/**
 * Numbers of one process, for whoever asks and for the collector. One reader serves both: the library
 * keeps what one reader has seen for every other one, which for a reader that nobody asks is forever.
 */
class Metrics<Name extends string> {
  readonly meter: Meter;
  #meters: MeterProvider;
  #reader = new OnDemandReader();
  #exporter: PushMetricExporter | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pushing: Promise<void> | undefined;
  #looking: Promise<unknown> = Promise.resolve();
  // Labels that tell one process from another wherever they are scraped, without a join.
  #serializer = new PrometheusSerializer(
    undefined,
    false,
    /^(service\.instance\.id|domicile\.region)$/,
    false,
    true,
  );

  constructor(teller: Teller, { metrics, observe }: Observed<Name>) {
    this.#meters = new MeterProvider({
      resource: resourceOf(teller),
      readers: [this.#reader],
    });
    this.meter = this.#meters.getMeter('domicile', teller.version);
    const instruments = new Map(
      Object.entries<Metric>(metrics).map(([key, one]) => [key, instrument(this.meter, one)]),
    );
    this.meter.addBatchObservableCallback(
      (result) => {
        for (const { metric, value, attributes } of observe()) {
          const told = instruments.get(metric);
          if (told !== undefined) result.observe(told, value, attributes as Mutable);
        }
      },
      [...instruments.values()],
    );
    this.#exporter = metricExporter(teller.settings);
    if (this.#exporter === undefined) return;
    this.#timer = setInterval(() => void this.#push(), teller.settings.metricsEveryMs).unref();
  }

  async snapshot(): Promise<MetricSnapshot[]> {
    const resourceMetrics = await this.#look();
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.map(({ descriptor: { name, unit }, dataPoints }) => ({
        name,
        unit,
        points: dataPoints.map(({ attributes, value }: DataPoint<unknown>) => ({
          attributes: attributes as Attributes,
          value: pointValue(value),
        })),
      })),
    );
  }

  async prometheusText(): Promise<string> {
    return this.#serializer.serialize(await this.#look());
  }

  async shutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#pushing;
    await this.#push();
    await this.#exporter?.shutdown();
    await this.#meters.shutdown();
  }

  /** One after the other: of two looks at once, the second would find nothing new. */
  #look(): Promise<ResourceMetrics> {
    const look = async () => (await this.#reader.collect()).resourceMetrics;
    const looked = this.#looking.then(look);
    this.#looking = looked.catch(() => {});
    return looked;
  }

  /** Leaves one out while the last one is under way. */
  #push(): Promise<void> {
    this.#pushing ??= this.#export().finally(() => {
      this.#pushing = undefined;
    });
    return this.#pushing;
  }

  async #export(): Promise<void> {
    const exporter = this.#exporter;
    if (exporter === undefined) return;
    const looked = await this.#look();
    await new Promise<void>((done) => {
      exporter.export(looked, ({ code }) => {
        if (code !== ExportResultCode.SUCCESS) diag.warn('metrics were not taken');
        done();
      });
    });
  }
}

/** What a silent collector does not take is not worth a late end. */
async function inTime(endings: readonly Promise<void>[]): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, STOP_MS_MAX);
  const told = Promise.allSettled(endings);
  await Promise.race([told, late.promise]).finally(() => clearTimeout(timer));
}

class RequestTrace implements Trace {
  readonly ids: Trace['ids'];
  #all: OpenTelemetry;
  #begins: BeginsWith;
  #span: Span;
  #context: Context;
  #recorded: boolean;
  #route: string | undefined;

  constructor(all: OpenTelemetry, begins: BeginsWith) {
    this.#all = all;
    this.#begins = begins;
    const { method, scheme, startedAtMs } = begins;
    const attributes = { [A.method]: methodName(method), [A.scheme]: scheme };
    const options = { kind: SpanKind.SERVER, startTime: startedAtMs, attributes };
    this.#span = all.tracer.startSpan(methodName(method), options, parentOf(begins, all));
    this.#context = trace.setSpan(ROOT_CONTEXT, this.#span);
    this.#recorded = this.#span.isRecording();
    const { traceId, spanId } = this.#span.spanContext();
    this.ids = this.#recorded ? { traceId, spanId } : undefined;
  }

  met(route: string): void {
    this.#route = route;
  }

  took(part: Part, ms: number, attributes: Attributes = {}): void {
    if (!this.#recorded) return;
    const nowMs = this.#nowMs();
    const options = { startTime: nowMs - ms, attributes: defined(attributes) };
    this.#all.tracer.startSpan(PARTS[part], options, this.#context).end(nowMs);
  }

  decided({ home, level }: Visit): void {
    if (!this.#recorded) return;
    const ms = this.#nowMs() - this.#begins.startedAtMs;
    this.took('decide', ms, { [A.home]: home, [A.level]: level.kind });
  }

  sql(target: SqlTarget): SqlCall {
    const { operation, node, login, host, port, database } = target;
    const startedAtMs = this.#nowMs();
    const span = this.#recorded
      ? this.#all.tracer.startSpan(
          `${operation} ${database}`,
          {
            kind: SpanKind.CLIENT,
            startTime: startedAtMs,
            attributes: {
              [A.dbSystem]: 'postgresql',
              [A.dbNamespace]: database,
              [A.dbOperation]: operation,
              [A.serverAddress]: host,
              [A.serverPort]: port,
              [A.node]: node,
              [A.login]: login,
            },
          },
          this.#context,
        )
      : undefined;
    let isOver = false;
    return {
      begins: () => span?.setAttribute(A.poolWaitMs, round(this.#nowMs() - startedAtMs)),
      ended: (error, sqlstate) => {
        if (isOver) return;
        isOver = true;
        const nowMs = this.#nowMs();
        this.#all.dbDuration.record((nowMs - startedAtMs) / 1_000, {
          [A.dbSystem]: 'postgresql',
          [A.dbOperation]: operation,
          [A.node]: node,
          ...(error !== undefined && { [A.errorType]: sqlstate ?? error }),
        });
        if (span === undefined) return;
        if (error !== undefined) fail(span, error);
        if (sqlstate !== undefined) span.setAttribute(A.dbStatus, sqlstate);
        span.end(nowMs);
      },
    };
  }

  hop(to: RegionId): HopCall {
    return this.#put(to, 'request', methodName(this.#begins.method), this.#route);
  }

  question(to: RegionId, { method, route }: Question): HopCall {
    return this.#put(to, 'question', method, route);
  }

  #put(to: RegionId, errand: Errand, name: string, route: string | undefined): HopCall {
    const startedAtMs = this.#nowMs();
    const what = { [A.method]: name, [A.to]: to, [A.errand]: errand };
    const template = route === undefined ? {} : { [A.urlTemplate]: route };
    const span = this.#recorded
      ? this.#all.tracer.startSpan(
          named(name, route),
          {
            kind: SpanKind.CLIENT,
            startTime: startedAtMs,
            attributes: { ...what, ...template },
          },
          this.#context,
        )
      : undefined;
    const ours = (span ?? this.#span).spanContext();
    return {
      fields: { traceparent: traceparent(ours), [HOP_TRACE_HEADER]: '1' },
      ended: (outcome) => {
        const nowMs = this.#nowMs();
        const how =
          'status' in outcome ? { [A.status]: outcome.status } : { [A.errorType]: outcome.error };
        this.#all.hopDuration.record((nowMs - startedAtMs) / 1_000, { ...what, ...how });
        span?.setAttributes(how);
        if (span !== undefined && 'error' in outcome) fail(span, outcome.error);
        span?.end(nowMs);
      },
    };
  }

  end(visit: Visit, status: number): void {
    const { decision, level, passedOver, home } = visit;
    const nowMs = this.#nowMs();
    const name = methodName(this.#begins.method);
    const because = decision.kind === 'refuse' ? decision.because : undefined;
    const route = this.#route;
    // `because` is the kind of a failure; a 500 of the app's own has none.
    const error = status >= 500 ? (because ?? String(status)) : undefined;
    this.#all.requestDuration.record((nowMs - this.#begins.startedAtMs) / 1_000, {
      [A.method]: name,
      [A.status]: status,
      [A.decision]: decision.kind,
      ...(route !== undefined && { [A.route]: route }),
      ...(decision.kind === 'serve' && { [A.level]: level.kind }),
      ...(error !== undefined && { [A.errorType]: error }),
    });
    for (const { node, because } of passedOver) {
      this.#all.passedOver.add(1, { [A.node]: node, [A.because]: because });
    }
    if (because !== undefined) {
      const traceId = this.ids?.traceId;
      const atMs = this.#all.options.wallClock();
      const refusal = { atMs, because, method: name, route, status, home, passedOver, traceId };
      this.#all.refusals.add(refusal);
    }
    if (!this.#recorded) return;
    const span = this.#span;
    span.updateName(named(name, route));
    span.setAttributes(this.#told(visit, status));
    if (error !== undefined) fail(span, error);
    span.end(nowMs);
  }

  #told(visit: Visit, status: number): Mutable {
    const { decision, level, passedOver, home, placed, policy } = visit;
    const here = this.#all.options.edge.here;
    const about = visit.about ?? visit.session.subject;
    const route = this.#route;
    return defined({
      [A.status]: status,
      [A.route]: route,
      [A.path]: route,
      [A.decision]: decision.kind,
      ...(decision.kind === 'serve' && {
        [A.node]: decision.node,
        [A.rung]: decision.rung,
        [A.level]: level.kind,
      }),
      [A.to]: 'to' in decision ? decision.to : undefined,
      [A.refusal]: decision.kind === 'refuse' ? decision.because : undefined,
      [A.passedOver]: passedOver.map(({ node, because }) => `${node}:${because}`),
      [A.home]: home,
      [A.from]: visit.hopFrom,
      [A.floor]: floorTexts(visit.sessionBefore, here),
      [A.position]: floorTexts(visit.session, here),
      [A.stalenessMs]: visit.stalenessMs === undefined ? undefined : round(visit.stalenessMs),
      [A.durability]: visit.durability,
      [A.policyVersion]: policy.version,
      [A.placementRule]: placed?.rule,
      [A.decidedAnew]: visit.turns,
      [A.subject]: about === undefined ? undefined : this.#all.subjectName(about),
    });
  }

  #nowMs(): number {
    return this.#all.options.edge.now();
  }
}

type Mutable = Record<string, string | number | boolean | string[]>;

/** Without what is undefined or an empty list. */
function defined(attributes: Attributes): Mutable {
  return Object.fromEntries(
    Object.entries(attributes).filter(
      ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
    ),
  ) as Mutable;
}

/**
 * A peer's trace goes on, and so does its choice whether it is recorded. A client's goes on only
 * where that was asked for: who may choose it can have everything recorded, and write what he likes
 * into its id.
 */
function parentOf({ traceparent, believed }: BeginsWith, { options }: OpenTelemetry): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  if (!believed && options.settings.clientTraces !== 'continue') return ROOT_CONTEXT;
  const parent = parseTraceParent(traceparent);
  return parent === null
    ? ROOT_CONTEXT
    : trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote: true });
}

function traceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags === TraceFlags.SAMPLED ? '01' : '00'}`;
}

function named(method: string, route: string | undefined): string {
  return route === undefined ? method : `${method} ${route}`;
}

function fail(span: Span, error: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute(A.errorType, error);
}

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

/** Hands each finished span to those who look at this edge itself. */
class RingProcessor implements SpanProcessor {
  #traces: RecentTraces;

  constructor(traces: RecentTraces) {
    this.#traces = traces;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    this.#traces.ended(span.spanContext().traceId, recorded(span));
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

const KINDS: Readonly<Record<number, RecordedSpan['kind']>> = {
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
};

function recorded(span: ReadableSpan): RecordedSpan {
  return {
    spanId: span.spanContext().spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: KINDS[span.kind] ?? 'internal',
    startedAtMs: hrTimeToMilliseconds(span.startTime),
    durationMs: hrTimeToMilliseconds(span.duration),
    error: span.status.code === SpanStatusCode.ERROR,
    attributes: span.attributes as Attributes,
  };
}

/**
 * Collects when it is asked. A gauge is what was seen at this look: cumulated, the library would go on
 * telling of a primary that is none any more.
 */
class OnDemandReader extends MetricReader {
  constructor() {
    super({
      aggregationTemporalitySelector: (type) =>
        type === InstrumentType.OBSERVABLE_GAUGE
          ? AggregationTemporality.DELTA
          : AggregationTemporality.CUMULATIVE,
    });
  }

  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

function batches(settings: TelemetrySettings): SpanProcessor[] {
  const { otlpEndpoint, otlpProtocol } = settings;
  if (otlpEndpoint === undefined) return [];
  const config = exporting(otlpEndpoint, 'traces');
  return [
    new BatchSpanProcessor({
      exporter:
        otlpProtocol === 'http/json'
          ? new JsonTraceExporter(config)
          : new ProtobufTraceExporter(config),
      maxQueueSize: SPANS_QUEUED_MAX,
      maxExportBatchSize: SPANS_BATCH_MAX,
      scheduledDelayMillis: SPANS_EVERY_MS,
      exportTimeoutMillis: EXPORT_MS_MAX,
    }),
  ];
}

function metricExporter(settings: TelemetrySettings): PushMetricExporter | undefined {
  const { otlpEndpoint, otlpProtocol } = settings;
  if (otlpEndpoint === undefined) return undefined;
  const config = exporting(otlpEndpoint, 'metrics');
  return otlpProtocol === 'http/json'
    ? new JsonMetricExporter(config)
    : new ProtobufMetricExporter(config);
}

/** Credentials for the collector come from the standard variables, which the library reads itself. */
function exporting(endpoint: string, signal: 'traces' | 'metrics') {
  return {
    url: `${endpoint.replace(/\/$/, '')}/v1/${signal}`,
    timeoutMillis: EXPORT_MS_MAX,
    concurrencyLimit: EXPORTS_MAX,
  };
}

function resourceOf({ service, name, region, version }: Teller): Resource {
  return detectResources({ detectors: [envDetector] }).merge(
    resourceFromAttributes({
      'service.name': service,
      'service.version': version,
      'service.instance.id': name,
      'domicile.region': region,
    }),
  );
}

function histogram(meter: Meter, { name, help, unit }: Metric): Histogram {
  const advice = { explicitBucketBoundaries: SECONDS_BOUNDS };
  return meter.createHistogram(name, { description: help, unit, advice });
}

function instrument(meter: Meter, { name, kind, unit, help: description }: Metric) {
  switch (kind) {
    case 'counter':
      return meter.createObservableCounter(name, { description, unit });
    case 'updown':
      return meter.createObservableUpDownCounter(name, { description, unit });
    default:
      return meter.createObservableGauge(name, { description, unit });
  }
}

function pointValue(value: unknown): number | HistogramValue {
  if (typeof value === 'number') return value;
  const { count, sum, buckets } = value as {
    count: number;
    sum?: number;
    buckets: { boundaries: number[]; counts: number[] };
  };
  return { count, sum: sum ?? 0, bounds: buckets.boundaries, counts: buckets.counts };
}

/** The library's complaints may quote what was sent, so only that there is one is said. */
function complainSeldom({ log, now }: Teller): void {
  let saidAtMs = Number.NEGATIVE_INFINITY;
  const complain = () => {
    const nowMs = now();
    if (nowMs - saidAtMs < COMPLAIN_EVERY_MS) return;
    saidAtMs = nowMs;
    log({ level: 'warn', event: 'telemetry-not-taken' });
  };
  const ignore = () => {};
  const logger = { error: complain, warn: complain, info: ignore, debug: ignore, verbose: ignore };
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
}
