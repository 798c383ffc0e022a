/** How does a request that cannot be met end? As a status and words, never as an exception. */
export class Refusal {
  readonly status: 400 | 404 | 409 | 500;
  readonly error: string;

  constructor(status: Refusal['status'], error: string) {
    this.status = status;
    this.error = error;
  }
}
