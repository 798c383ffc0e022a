/**
 * `npm exec -- node terraform/write-cost-tables.ts`: puts the tables of `cost.ts` into
 * docs/production.md. Run it after you have changed a figure.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withTables } from './cost-tables.ts';

const page = join(import.meta.dirname, '..', 'docs', 'production.md');
writeFileSync(page, withTables(readFileSync(page, 'utf8')));
