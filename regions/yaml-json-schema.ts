/**
 * What does an editor need to complete one of our YAML files?
 *
 * JSON Schema made from the zod schema that reads the file, so the two cannot disagree.
 */
import * as z from 'zod';

export function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return { $schema, ...rest };
}
