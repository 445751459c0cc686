/**
 * Events for tests: one complete example of each kind, and arbitrary ones with hostile texts.
 */
import * as fc from "fast-check"
import type {
  AccessEvent,
  CertificateRecord,
  CrlRecord,
  GatewayEvent,
  GuardRecord,
} from "../../src/core/record/event.ts"

export const EVENT: AccessEvent = {
  timestamp: "2026-11-22T03:00:00.123Z",
  level: "info",
  event: "request",
  request_id: "01932c07-0000-7000-8000-000000000001",
  trace_id: "0af7651916cd43dd8448eb211c80319c",
  span_id: "b7ad6b7169203331",
  outcome: "forwarded",
  status: 200,
  method: "GET",
  host: "gw.test",
  path: "/balance",
  route: "/balance",
  client_id: "acme",
  client_address: "127.0.0.9",
  latency_ms: 12.5,
  origin: "bank",
  origin_ms: 11,
  certificate_fingerprint: "a".repeat(64),
  certificate_days_left: -1,
  rate_limit_policy: "standard",
  rate_limit_remaining: 19,
  config_version: "0123456789abcdef",
}

/** The first block of a client. It has no trace, no status and no path. */
export const GUARD_RECORD: GuardRecord = {
  timestamp: "2026-11-22T03:00:00.123Z",
  level: "warn",
  event: "guard.opened",
  guard: "credentials",
  key_kind: "client",
  client_id: "acme",
  reason: "failures",
  blocked_until: "2026-11-22T03:05:00.123Z",
  attempt: 1,
}

/** A certificate that ends in three weeks. */
export const CERTIFICATE_RECORD: CertificateRecord = {
  timestamp: "2026-11-22T03:00:00.123Z",
  level: "warn",
  event: "certificate.expiring",
  client_id: "acme",
  ends: "validity",
  ends_at: "2026-12-13T03:00:00.000Z",
  days_left: 20,
  certificate_fingerprint: "a".repeat(64),
  last_used: "2026-11-22",
  found_by: "use",
}

/** A revocation list that could not be fetched. */
export const CRL_RECORD: CrlRecord = {
  timestamp: "2026-11-22T03:00:00.123Z",
  level: "warn",
  event: "crl.failed",
  issuer: "partners",
  reason: "crl_timeout",
  failures: 2,
  this_update: "2026-11-22T02:00:00.000Z",
  next_update: "2026-11-22T04:00:00.000Z",
  entries: 17,
  number: "1f4",
}

/** Characters of every kind that somebody acts on: controls, separators, marks of direction, quotes, halves of pairs. */
const unit = fc.oneof(
  fc.constantFrom(
    ...Array.from(
      "aA0/ \"\\'<>&\n\r\t\0\u001b\u007f\u0085\u009b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff日😀é",
    ),
  ),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
)
/** Texts of hostile characters. */
export const hostileText = fc.array(unit, { maxLength: 30 }).map((units) => units.join(""))

const anyAccessEvent: fc.Arbitrary<AccessEvent> = fc
  .record(
    {
      method: hostileText,
      path: hostileText,
      reason: hostileText,
      route: hostileText,
      status: fc.integer({ min: 100, max: 599 }),
      latency_ms: fc.double({ min: 0, max: 1e6, noNaN: true }),
      origin_unhealthy: fc.constant(true as const),
    },
    { requiredKeys: ["method", "path", "reason", "route", "status", "latency_ms"] },
  )
  .map((changes) => ({ ...EVENT, ...changes }))

const anyGuardRecord: fc.Arbitrary<GuardRecord> = fc
  .record({ guard: hostileText, client_id: hostileText, attempt: fc.nat() })
  .map((changes) => ({ ...GUARD_RECORD, ...changes }))

const anyCertificateRecord: fc.Arbitrary<CertificateRecord> = fc
  .record({ client_id: hostileText, rule: hostileText, days_left: fc.integer() })
  .map((changes) => ({ ...CERTIFICATE_RECORD, ...changes }))

const anyCrlRecord: fc.Arbitrary<CrlRecord> = fc
  .record({ issuer: hostileText, reason: hostileText, entries: fc.nat() })
  .map((changes) => ({ ...CRL_RECORD, ...changes }))

/** Events of every kind whose texts are hostile. */
export const anyEvent: fc.Arbitrary<GatewayEvent> = fc.oneof(
  anyAccessEvent,
  anyGuardRecord,
  anyCertificateRecord,
  anyCrlRecord,
)
