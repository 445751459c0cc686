/** What one batch came to: how `gate-driver.ts` answers, and what `gate.ts` reads. Counts of requests, or of calls. */
export interface BatchReport {
  readonly admitted: number
  readonly refused: number
  readonly failed: number
  readonly totals: GateTotals
}

/** Counted since the isolate began. */
export interface GateTotals {
  /** Requests whose event says `gate: "local"` or `gate: "asked"`. */
  readonly local: number
  readonly asked: number
  /** Calls of objects, whatever the method, and those for tokens among them. */
  readonly calls: number
  readonly lends: number
  /** Calls for tokens that the object itself remembers of the isolate; 0 when it was not asked, or remembers no holder. */
  readonly inspectedLends: number
}
