/**
 * Which password does libpq find in this password file?
 */

/** Each line in its five fields, as libpq reads it. */
export function passwordLines(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) =>
      [...line.matchAll(/((?:[^:\\]|\\.)*)(?::|$)/g)].map(([, field = '']) =>
        field.replaceAll(/\\(.)/g, '$1'),
      ),
    );
}

/** For host, port, database and role; of the first line that fits. */
export function passwordFor(
  wanted: readonly string[],
  lines: readonly (readonly string[])[],
): string | undefined {
  const line = lines.find((fields) =>
    wanted.every((field, nth) => fields[nth] === '*' || fields[nth] === field),
  );
  return line?.[4];
}
