/**
 * What one edge counts of itself, from its start on, in plain numbers. Nothing of it is kept: counters begin again at zero with
 * the process, which readers of counters know from restarts.
 */
import {
  HANDSHAKE_FAILURES,
  reasonOfHandshakeError,
  type EdgeReport,
  type HandshakeFailure,
} from "../src/core/metric/edge-metrics.ts"
import type { CountedSeries } from "../src/core/metric/metric-report.ts"
import type { ProblemCode } from "../src/core/problem.ts"

/** The counts of an edge. */
export interface EdgeTally {
  /** Counts a connection, and that it is open until the returned function is called. */
  open(): () => void
  /** Counts a connection that was closed at once. */
  drop(): void
  /** Counts a handshake that failed with this error of Node's or OpenSSL's. */
  failHandshake(error: string): void
  /** Counts a request that the edge has answered itself. */
  refuse(code: ProblemCode): void
  /** Returns everything that was counted, and how many connections are open. */
  report(): EdgeReport
}

/** Returns the counts of an edge that has seen nothing. Every reason is there from the start, so that its first failure is a growth. */
export function createEdgeTally(): EdgeTally {
  const failures = new Map<HandshakeFailure, number>(HANDSHAKE_FAILURES.map((reason) => [reason, 0]))
  const refusals = new Map<ProblemCode, number>()
  let accepted = 0
  let dropped = 0
  let closed = 0
  return {
    open() {
      accepted += 1
      return () => void (closed += 1)
    },
    drop: () => void (dropped += 1),
    failHandshake(error) {
      const reason = reasonOfHandshakeError(error)
      failures.set(reason, (failures.get(reason) ?? 0) + 1)
    },
    refuse: (code) => void refusals.set(code, (refusals.get(code) ?? 0) + 1),
    report: () => ({
      series: [
        ["sekisho_edge_connections", [], accepted],
        ["sekisho_edge_connections_open", [], accepted - closed],
        ["sekisho_edge_connections_dropped", [], dropped],
        ...[...failures].map(([reason, count]): CountedSeries => ["sekisho_edge_handshake_failures", [reason], count]),
        ...[...refusals].map(([code, count]): CountedSeries => ["sekisho_edge_refusals", [code], count]),
      ],
    }),
  }
}
