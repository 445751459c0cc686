/**
 * Goal: a batch is done when every sink has it, waits as long as a sink asks within the bound, and never follows a
 * redirect. Method: every class of status, every form of Retry-After, and texts that only look like one.
 */
import { describe, expect, test } from "vitest"
import { SINK_RETRY_SECONDS_MAX } from "../../src/core/bounds.ts"
import { countNotTaken, decideDelivery } from "../../src/core/record/delivery.ts"

// One minute before the example date of RFC 9110 §5.6.7.
const NOW_MS = Date.UTC(1994, 10, 6, 8, 48, 37)

describe("decideDelivery()", () => {
  test.each([200, 202, 204, 299])("takes status %i for delivered", (status) => {
    expect(decideDelivery(status, null, NOW_MS)).toEqual({ kind: "delivered", dropped: 0 })
  })

  test.each([429, 502, 503, 504])("OT-4: tries again after status %i", (status) => {
    expect(decideDelivery(status, null, NOW_MS)).toEqual({
      kind: "retry",
      reason: `status_${status}`,
      delaySeconds: undefined,
    })
  })

  test.each([100, 199, 300, 301, 307, 308, 400, 401, 403, 404, 408, 413, 422, 425, 500, 501, 505, 599])(
    "OT-4: takes status %i for a refusal",
    (status) => {
      const isContent = [400, 413, 422].includes(status)
      expect(decideDelivery(status, "10", NOW_MS)).toEqual({ kind: "rejected", reason: `status_${status}`, isContent })
    },
  )

  test("tries again when there was no answer", () => {
    expect(decideDelivery(undefined, "10", NOW_MS)).toEqual({
      kind: "retry",
      reason: "no_answer",
      delaySeconds: undefined,
    })
  })

  test.each([
    ["0", 0],
    ["30", 30],
    ["00030", 30],
    [String(SINK_RETRY_SECONDS_MAX), SINK_RETRY_SECONDS_MAX],
    [String(SINK_RETRY_SECONDS_MAX + 1), SINK_RETRY_SECONDS_MAX],
    ["9".repeat(400), SINK_RETRY_SECONDS_MAX],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 60],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 60],
    ["Sun Nov  6 08:49:37 1994", 60],
    ["Sun, 06 Nov 1994 08:00:00 GMT", 0],
    ["Sun, 06 Nov 2094 08:00:00 GMT", SINK_RETRY_SECONDS_MAX],
  ])("reads Retry-After %j", (value, delaySeconds) => {
    expect(decideDelivery(503, value, NOW_MS)).toMatchObject({ kind: "retry", delaySeconds })
  })

  test.each([
    null,
    "",
    "-1",
    "+5",
    "1.5",
    "5s",
    "soon 3",
    "120, 120",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 +0900",
    "Sun, 99 Nov 1994 08:49:37 GMT",
    "Sun, 06 Xyz 1994 08:49:37 GMT",
  ])("ignores Retry-After %j", (value) => {
    expect(decideDelivery(503, value, NOW_MS)).toMatchObject({ kind: "retry", delaySeconds: undefined })
  })
})

describe("countNotTaken()", () => {
  test.each([
    ['{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}', 2],
    ['{"partialSuccess":{"rejectedSpans":3}}', 3],
    ['{"partialSuccess":{"rejectedLogRecords":"99999"}}', 10],
    ['{"partialSuccess":{}}', 0],
    ["{}", 0],
    ["", 0],
    ["null", 0],
    ["[1]", 0],
    ['{"partialSuccess":{"rejectedLogRecords":-1}}', 0],
    ['{"partialSuccess":{"rejectedLogRecords":"many"}}', 0],
    ["<html>", 0],
  ])("LOG-08: reads %s", (answer, count) => {
    expect(countNotTaken(answer, 10)).toBe(count)
  })
})
