/**
 * Writes the JSON Schemas of our YAML files, for editors: `node policies/write-schema.ts`, then
 * `npm run fix` for the layout. A test fails while the files differ from what this would write.
 */
import { writeFileSync } from 'node:fs';
import { CatalogueFile } from '../regions/read-catalogue.ts';
import { InstallationFile } from '../regions/read-installation.ts';
import { jsonSchemaOf } from '../regions/yaml-json-schema.ts';
import { PolicyFile } from './policy-file.ts';

const files = [
  { schema: PolicyFile, path: './residency.schema.json' },
  { schema: CatalogueFile, path: '../regions/regions.schema.json' },
  { schema: InstallationFile, path: '../regions/installation.schema.json' },
];

for (const { schema, path } of files) {
  const url = new URL(path, import.meta.url);
  writeFileSync(url, `${JSON.stringify(jsonSchemaOf(schema), null, 2)}\n`);
}
