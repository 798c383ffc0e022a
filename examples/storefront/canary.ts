/**
 * Where does the shop store a canary?
 *
 * `domicile audit` signs such a person up in every region, and then looks for the texts everywhere.
 */
import type { CanaryAnswer, CanaryQuestion } from '../../router/audit/canary-module.ts';

export default function canary({ facts, draw }: CanaryQuestion): CanaryAnswer {
  const [id, displayName, email] = [draw(), draw(), draw()];
  const { country } = facts;
  return {
    subject: id,
    requests: [
      {
        method: 'POST',
        path: '/users',
        body: { id, displayName, email: `${email}@canary.example`, ...facts },
      },
      {
        method: 'POST',
        path: `/users/${id}/orders`,
        body: { items: [{ product: 'lamp-brass', quantity: 1 }] },
      },
    ],
    canaries: [
      {
        text: id,
        columns: [
          { table: 'users', column: 'id', row: { country } },
          { table: 'orders', column: 'user_id' },
          { table: 'order_items', column: 'user_id' },
        ],
      },
      {
        text: displayName,
        columns: [{ table: 'users', column: 'display_name', row: { country } }],
      },
      { text: email, columns: [{ table: 'users', column: 'email', row: { country } }] },
    ],
  };
}
