/**
 * How does the console of an edge come to run?
 *
 * Where nobody may use it nothing of it is loaded but what other edges may ask.
 */
import type { Edge } from '../edge.ts';
import type { EdgeConsole } from '../edge-server.ts';
import type { VerifyJwt } from './credentials.ts';
import { Experiments } from './experiments.ts';
import type { Operators, SecretPlace } from './operators-file.ts';
import type { FirstOperators, OperatorsInForce } from './operators-in-force.ts';
import { RegionLooker } from './region-picture.ts';
import { Subjects } from './subjects.ts';
import { TraceSearch, tellParts } from './trace-search.ts';
import { TrafficCounter } from './traffic.ts';
import { WorldLooker } from './world-picture.ts';

export type ConsoleOptions = {
  edge: Edge;
  /** Undefined: nobody, and then there is no console. */
  operators: FirstOperators | undefined;
  version: string;
  /** Of a client that an issuer knows. */
  secretOf: (place: SecretPlace) => Promise<string | undefined>;
  drawSecret: () => string;
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

export type RunningConsole = EdgeConsole & { stop: () => void };

export async function startConsole(options: ConsoleOptions): Promise<RunningConsole> {
  const { edge, operators, version, wallClock } = options;
  const experiments = new Experiments();
  const traffic = operators === undefined ? undefined : new TrafficCounter();
  edge.traffic = traffic;
  let inForce: OperatorsInForce | undefined;
  const operatorsBrokenSinceMs = () => inForce?.brokenSinceMs;
  const looker = new RegionLooker({
    edge,
    traffic,
    experiments,
    operatorsBrokenSinceMs,
    wallClock,
  });
  const picture = () => looker.look();
  const traceParts = (traceId: string) => tellParts(edge, traceId);
  if (operators === undefined) {
    return { answer: () => undefined, picture, traceParts, stop: () => {} };
  }
  const { ConsoleServer } = await import('./console-server.ts');
  const { consoleFiles } = await import('./console-files.ts');
  const { OperatorsInForce } = await import('./operators-in-force.ts');
  const verifierOf = (read: Operators) => verifierFor(read, options);
  inForce = await OperatorsInForce.start({ ...options, ...operators, verifierOf });
  const server = new ConsoleServer({
    ...options,
    operators: inForce,
    files: consoleFiles(),
    world: new WorldLooker(edge, looker, { version, startedAtMs: wallClock(), wallClock }),
    subjects: new Subjects(edge),
    search: new TraceSearch(edge),
    experiments,
  });
  return {
    answer: (request, env) => server.answer(request, env),
    picture,
    traceParts,
    stop: () => {
      inForce?.stop();
      server.stop();
    },
  };
}

/** Its package is loaded where an issuer is named. */
async function verifierFor(
  { issuers }: Operators,
  { wallClock, log }: ConsoleOptions,
): Promise<VerifyJwt | undefined> {
  if (issuers.length === 0) return undefined;
  const { jwtVerifier } = await import('./verify-jwt.ts');
  return jwtVerifier({ issuers, wallClock, log });
}
