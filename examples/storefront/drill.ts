/**
 * What does the shop read?
 *
 * `domicile region <id> drill` asks the same of the live primary and of a restored copy.
 */
import type { DrillReads } from '../../router/backup/drill-checks.ts';

export default {
  ofSubject: {
    'the user': (sql, user) => sql`
      select id, display_name, email, country, created_at from users where id = ${user}`,
    'the newest orders': (sql, user) => sql`
      select id, status, version, total_cents, placed_at from orders
      where user_id = ${user} order by placed_at desc, id desc limit 100`,
    'the items of all orders': (sql, user) => sql`
      select order_id, line, product_id, name, unit_cents, quantity from order_items
      where user_id = ${user} order by order_id, line limit 1000`,
  },
  ofNobody: {
    products: (sql) => sql`select id, name, unit_cents from products order by id limit 1000`,
  },
} satisfies DrillReads;
