/** The part of autocannon that is used here; the package brings no types. */
declare module 'autocannon' {
  export type Options = {
    url: string;
    method?: 'GET' | 'POST';
    headers?: Record<string, string>;
    connections?: number;
    /** Seconds. */
    duration?: number;
  };
  export type Result = {
    non2xx: number;
    errors: number;
    timeouts: number;
    /** Seconds. */
    duration: number;
    requests: { total: number };
    /** Milliseconds. */
    latency: { average: number; p50: number; p99: number; max: number };
  };
  export default function autocannon(options: Options): Promise<Result>;
}
