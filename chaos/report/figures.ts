/** How is a number written, so that it can be read and compared at a glance? */

/** A length of time: `420 ms`, `2.04 s`, `3 min 20 s`, `1 h`. */
export function duration(ms: number): string {
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 9.95) return `${trimmed(ms.toFixed(1))} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 9_995) return `${(ms / 1_000).toFixed(2)} s`;
  if (ms < 99_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  if (minutes < 60) return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`;
  const [hours, over] = [Math.floor(minutes / 60), minutes % 60];
  return over === 0 ? `${hours} h` : `${hours} h ${over} min`;
}

/** A place on the clock of the run, to the millisecond: `12.304 s`. */
export function moment(ms: number): string {
  return `${(ms / 1_000).toFixed(3)} s`;
}

/** A mark of a time axis whose marks lie `stepMs` apart. */
export function axisTime(ms: number, stepMs: number): string {
  if (stepMs >= 60_000) return `${trimmed((ms / 60_000).toFixed(1))} min`;
  if (stepMs >= 1_000) return ms < 120_000 ? `${ms / 1_000} s` : clock(ms);
  return `${trimmed((ms / 1_000).toFixed(2))} s`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [left, unit] = [value, 0];
  while (left >= 999.5 && unit < units.length - 1) {
    left /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || left >= 9.95 ? left.toFixed(0) : trimmed(left.toFixed(1))} ${units[unit]}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** Per second: `84`, `8.4`, `0.4`. */
export function rate(value: number): string {
  return value >= 9.95 ? count(Math.round(value)) : trimmed(value.toFixed(1));
}

/** `1 fault`, `2 faults`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function clock(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} min`;
}

function trimmed(fixed: string): string {
  return fixed.replace(/\.?0+$/, (end) => (fixed.includes('.') ? '' : end));
}
