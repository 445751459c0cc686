/**
 * Goal: an alarm can be set on one field, and README tells on which values. Method: records of each kind; README's table against the
 * list.
 */
import { expect, test } from "vitest"
import { ALERTS, alertOf, withAlert } from "../../src/core/record/alert.ts"
import { auditDelayRecordOf } from "../../src/core/audit/audit-delay.ts"
import type { GatewayEvent } from "../../src/core/record/event.ts"
import { sinkRecordOf } from "../../src/core/record/sink-record.ts"
import { readMarkdownTable } from "../repo/files.ts"
import { CERTIFICATE_RECORD, CRL_RECORD, EVENT, GUARD_RECORD } from "./event-fixtures.ts"

const SINK = { kind: "otlp", url: "https://collector.test/SECRET/v1/logs" }

test.each<readonly [GatewayEvent, string | undefined]>([
  [EVENT, undefined],
  [{ ...EVENT, reason: "limit" }, undefined],
  [{ ...EVENT, reason: "cert_revoked" }, "certificate-revoked"],
  [{ ...EVENT, reason: "cert_revoked_by_crl" }, "certificate-revoked"],
  [GUARD_RECORD, "guard-opened"],
  [{ ...GUARD_RECORD, event: "guard.closed" }, undefined],
  [CERTIFICATE_RECORD, "certificate-expiring"],
  [CRL_RECORD, undefined],
  [{ ...CRL_RECORD, event: "crl.stale" }, "revocation-list-stale"],
  [sinkRecordOf({ kind: "down", sink: SINK, reason: "status_503" }, 0), "sink-down"],
  [sinkRecordOf({ kind: "up", sink: SINK }, 0), undefined],
  [sinkRecordOf({ kind: "dropped", sink: undefined, reason: "events_not_queued", count: 1 }, 0), "records-lost"],
  [sinkRecordOf({ kind: "rejected", sink: SINK, reason: "status_400", count: 1 }, 0), "records-rejected"],
  [auditDelayRecordOf("delayed", "acme", { records: 1, bytes: 1, oldestMs: 0 }, 0), "audit-backlog"],
  [auditDelayRecordOf("resumed", "acme", { records: 0, bytes: 0, oldestMs: undefined }, 0), undefined],
  [{} as GatewayEvent, undefined],
])("%j is the alert %s", (record, alert) => {
  expect(alertOf(record)).toBe(alert)
  expect(withAlert(record).alert).toBe(alert)
})

test("a record about a sink names its host, and nothing else of its URL", () => {
  const record = sinkRecordOf({ kind: "down", sink: SINK, reason: "status_503" }, 0)
  expect(record.sink).toBe("otlp collector.test")
  expect(JSON.stringify(record)).not.toContain("SECRET")
})

test("README's table of alerts is the list", () => {
  const rows = readMarkdownTable("README.md", "### Alerts")
  expect(rows.map(([code = "", , meaning]) => [code.replaceAll("`", ""), meaning])).toEqual(Object.entries(ALERTS))
})
