/**
 * Goal: which requests are handshakes, what a close becomes on the other side, and when an open socket is idle, due or over.
 * Method: the examples of RFC 6455, each way to get it wrong, and properties over every code and every clock.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  afterRecheck,
  chosenProtocol,
  decideSocket,
  decideUpgrade,
  GATEWAY_CLOSES,
  handshakeFields,
  HOLDS,
  isSendable,
  relayClose,
  type SocketWatch,
  type Standing,
  type UpgradeFields,
} from "../../src/core/message/websocket.ts"

const SEED = { seed: 6455 }
const TERMS = { idleTimeoutMs: 60_000, messageBytesMax: 1_000, recheckMs: 30_000 }
const VALID: UpgradeFields = {
  method: "GET",
  httpProtocol: "HTTP/1.1",
  upgrade: "websocket",
  version: "13",
  key: "dGhlIHNhbXBsZSBub25jZQ==",
  protocols: null,
  hasContent: false,
}

describe("decideUpgrade()", () => {
  test("RFC 6455 §1.3 accepts the sample handshake", () => {
    expect(decideUpgrade({ ...VALID, protocols: "chat, superchat" }, TERMS)).toEqual({
      kind: "accepted",
      protocols: ["chat", "superchat"],
    })
  })

  test.each([null, "", "h2c", "websocket2", "web socket"])("asks for nothing with Upgrade: %s", (upgrade) => {
    expect(decideUpgrade({ ...VALID, upgrade }, TERMS).kind).toBe("none")
  })

  test.each(["WebSocket", " websocket ", "h2c, websocket"])("reads %j as RFC 9110 §7.8 does", (upgrade) => {
    expect(decideUpgrade({ ...VALID, upgrade }, TERMS).kind).toBe("accepted")
  })

  test("WSK-02 refuses where the route has no sockets, whatever else is wrong", () => {
    const expected = { kind: "refused", code: "upgrade-not-allowed", reason: "route_without_websocket" }
    expect(decideUpgrade(VALID, undefined)).toEqual(expected)
    expect(decideUpgrade({ ...VALID, key: null, version: "8" }, undefined)).toEqual(expected)
  })

  test.each<[string, Partial<UpgradeFields>, string]>([
    ["another method", { method: "POST" }, "upgrade-not-allowed"],
    ["HTTP/1.0", { httpProtocol: "HTTP/1.0" }, "upgrade-not-allowed"],
    ["HTTP/2", { httpProtocol: "HTTP/2" }, "upgrade-not-allowed"],
    ["no version", { version: null }, "upgrade-not-allowed"],
    ["version 8", { version: "8" }, "upgrade-not-allowed"],
    ["two versions", { version: "13, 13" }, "upgrade-not-allowed"],
    ["no key", { key: null }, "malformed-request"],
    ["two keys", { key: `${VALID.key}, ${VALID.key}` }, "malformed-request"],
    ["a key of 15 octets", { key: "dGhlIHNhbXBsZSBub25j" }, "malformed-request"],
    ["a key with bits behind its end", { key: "dGhlIHNhbXBsZSBub25jZR==" }, "malformed-request"],
    ["content", { hasContent: true }, "malformed-request"],
    ["a subprotocol that is no token", { protocols: "a b" }, "malformed-request"],
    ["a subprotocol twice", { protocols: "a, a" }, "malformed-request"],
    ["an empty list of subprotocols", { protocols: " , " }, "malformed-request"],
  ])("refuses %s", (_, fields, code) => {
    expect(decideUpgrade({ ...VALID, ...fields }, TERMS)).toMatchObject({ kind: "refused", code })
  })

  test("is total", () => {
    const text = fc.option(fc.string())
    fc.assert(
      fc.property(
        fc.string(),
        text,
        text,
        text,
        text,
        fc.boolean(),
        (method, upgrade, version, key, protocols, has) => {
          const fields = { method, httpProtocol: undefined, upgrade, version, key, protocols, hasContent: has }
          expect(["none", "accepted", "refused"]).toContain(decideUpgrade(fields, TERMS).kind)
        },
      ),
      SEED,
    )
  })
})

test("handshakeFields() hands on what was offered and nothing else", () => {
  expect(handshakeFields([])).toEqual([["Upgrade", "websocket"]])
  expect(handshakeFields(["a", "b"])).toEqual([
    ["Upgrade", "websocket"],
    ["Sec-WebSocket-Protocol", "a, b"],
  ])
})

test.each([
  [null, undefined],
  ["", undefined],
  ["a", "a"],
  ["A", null],
  ["a, b", null],
] as const)("chosenProtocol() reads %j", (answer, chosen) => {
  expect(chosenProtocol(answer, ["a", "b"])).toBe(chosen)
})

describe("relayClose()", () => {
  test("never tells what no frame may say", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1, max: 70_000 }),
        fc.string(),
        fc.constantFrom("client", "origin"),
        (code, reason, from) => {
          const close = relayClose(code, reason, from)
          expect(close.code === undefined || isSendable(close.code)).toBe(true)
          expect(new TextEncoder().encode(close.reason).length).toBeLessThanOrEqual(123)
          if (isSendable(code)) expect(close.code).toBe(code)
        },
      ),
      SEED,
    )
  })

  test.each([
    [1005, "client", undefined],
    [1006, "client", 1001],
    [1006, "origin", 1014],
    [1015, "origin", 1014],
    [1004, "client", 1002],
    [2999, "origin", 1002],
    [999, "client", 1002],
    [5000, "client", 1002],
  ] as const)("%i of the %s becomes %s", (code, from, told) => {
    expect(relayClose(code, "reason", from)).toEqual({ code: told, reason: "" })
  })

  test("keeps a reason that fits and cuts one that does not between characters", () => {
    expect(relayClose(4000, "ü".repeat(61), "client").reason).toBe("ü".repeat(61))
    expect(relayClose(4000, "ü".repeat(62), "client").reason).toBe("ü".repeat(61))
    expect(relayClose(4000, "😀".repeat(31), "client").reason).toBe("😀".repeat(30))
  })
})

test("the gateway closes with codes that a frame may carry", () => {
  expect(Object.values(GATEWAY_CLOSES).filter(({ code }) => !isSendable(code))).toEqual([])
})

describe("decideSocket()", () => {
  const watch = (lastMessageMs: number, lastRecheckMs: number): SocketWatch => ({
    lastMessageMs,
    lastRecheckMs,
    unknowns: 0,
  })

  test("is idle exactly when the time without a message is over", () => {
    expect(decideSocket(watch(0, 59_000), TERMS, 59_999)).toEqual({ kind: "wait", waitMs: 1 })
    expect(decideSocket(watch(0, 59_000), TERMS, 60_000)).toEqual({ kind: "idle" })
  })

  test("is due exactly when the time since the last recheck is over", () => {
    expect(decideSocket(watch(20_000, 0), TERMS, 29_999)).toEqual({ kind: "wait", waitMs: 1 })
    expect(decideSocket(watch(20_000, 0), TERMS, 30_000)).toEqual({ kind: "recheck" })
  })

  test("whoever looks when told to finds a duty, no later than either time allows", () => {
    const ms = fc.integer({ min: 0, max: 1_000_000 })
    fc.assert(
      fc.property(ms, ms, fc.integer({ min: 1_000_000, max: 2_000_000 }), (lastMessageMs, lastRecheckMs, nowMs) => {
        const at = watch(lastMessageMs, lastRecheckMs)
        const duty = decideSocket(at, TERMS, nowMs)
        if (duty.kind !== "wait") return
        expect(duty.waitMs).toBeGreaterThan(0)
        expect(decideSocket(at, TERMS, nowMs + duty.waitMs - 1).kind).toBe("wait")
        expect(decideSocket(at, TERMS, nowMs + duty.waitMs).kind).not.toBe("wait")
      }),
      SEED,
    )
  })

  test("a clock that is set back makes nothing late and no wait longer than one period", () => {
    expect(decideSocket(watch(1_000_000, 1_000_000), TERMS, 0)).toEqual({ kind: "wait", waitMs: 30_000 })
  })
})

describe("afterRecheck()", () => {
  const WATCH: SocketWatch = { lastMessageMs: 0, lastRecheckMs: 0, unknowns: 0 }
  const unknown: Standing = { kind: "unknown", reason: "down" }

  test("one question without an answer closes nothing, the second in a row does", () => {
    const first = afterRecheck(WATCH, [HOLDS, unknown], 1_000)
    expect(first.close).toBeUndefined()
    expect(afterRecheck(first.watch, [unknown], 2_000).close).toEqual({ cause: "unknown", reason: "down" })
  })

  test("an answer in between forgets the silence", () => {
    const first = afterRecheck(WATCH, [unknown], 1_000)
    const second = afterRecheck(first.watch, [HOLDS], 2_000)
    expect(second.watch).toEqual({ lastMessageMs: 0, lastRecheckMs: 2_000, unknowns: 0 })
    expect(afterRecheck(second.watch, [unknown], 3_000).close).toBeUndefined()
  })

  test("what has ended decides before what is not known", () => {
    const standings: Standing[] = [
      unknown,
      { kind: "place_lost", reason: "lost" },
      { kind: "ended", reason: "revoked" },
    ]
    expect(afterRecheck(WATCH, standings, 0).close).toEqual({ cause: "revoked", reason: "revoked" })
    expect(afterRecheck(WATCH, standings.slice(0, 2), 0).close).toEqual({ cause: "place_lost", reason: "lost" })
  })
})
