/**
 * Goal: a request gets past the `certificate` stage with a certificate that the platform vouches for and that suits a
 * client, and with nothing else. Method: `request.cf` as Cloudflare or the local edge fills it, with real certificates.
 */
import { describe, expect, test } from "vitest"
import { formatHex } from "../../src/core/hex.ts"
import { signedText, type EdgeAssertion } from "../../src/core/assertion/edge-assertion.ts"
import { mintRequestId } from "../../src/core/message/request-id.ts"
import {
  CLIENT_ADDRESS,
  createGateway,
  existingObjects,
  expectRefusal,
  fixtures,
  platformFacts,
  writtenLines,
  type RequestParts,
} from "./harness.ts"
import type { CertificateName } from "./provided.ts"

test("TLS-01 a verified certificate of a known client passes", async () => {
  const gateway = createGateway()
  const { response, event } = await gateway.send()
  expect(response.status).toBe(200)
  expect(event).toMatchObject({
    client_id: gateway.clientId("acme-a"),
    certificate_fingerprint: fixtures.certificates["acme-a"].fingerprint,
    certificate_days_left: 89,
  })
})

test("TLS-02 no certificate is refused and creates no object", async () => {
  const gateway = createGateway()
  const before = await existingObjects()
  await expectRefusal(gateway, await gateway.send({ cert: "none" }), {
    status: 401,
    code: "client-cert-required",
    reason: "no_cert",
    event: { client_address: CLIENT_ADDRESS },
  })
  expect(await existingObjects()).toEqual(before)
})

test.each([undefined, {}, { tlsClientAuth: null }, { tlsClientAuth: "1" }, { tlsClientAuth: {} }, []])(
  "IDN-20 request.cf without facts about a certificate is none: %j",
  async (cf) => {
    const gateway = createGateway()
    await expectRefusal(gateway, await gateway.send({ cf }), { status: 401, code: "client-cert-required" })
  },
)

test.each<readonly [string, RequestParts, string]>([
  ["TLS-03 expired, as the platform found", failed("acme-a", "FAILED:certificate has expired"), "cert_expired"],
  ["TLS-03 expired, as the leaf says", { cert: "expired" }, "cert_expired"],
  ["not yet valid", { cert: "not yet valid" }, "cert_not_yet_valid"],
  [
    "TLS-05 issued by somebody who calls himself CA-A",
    failed("acme-a from rogue", "FAILED:unable to get local issuer certificate"),
    "unknown_issuer",
  ],
  ["TLS-06 revoked, although verified", { tlsClientAuth: { certRevoked: "1" } }, "cert_revoked"],
  ["TLS-17 for mail only", { cert: "email only" }, "eku"],
  ["TLS-17 for servers only", { cert: "server only" }, "eku"],
  ["TLS-17 without any purpose", { cert: "no purpose" }, "eku"],
  ["a CA itself", { cert: "certificate authority" }, "ca_certificate"],
  ["without a signing key", { cert: "key agreement only" }, "key_usage"],
  ["the leaf is missing", { tlsClientAuth: { certRFC9440: "" } }, "leaf_missing"],
  ["the leaf is no byte sequence", { tlsClientAuth: { certRFC9440: "MIIB" } }, "leaf_malformed"],
  ["the leaf is no base64", { tlsClientAuth: { certRFC9440: ":MII:" } }, "leaf_malformed"],
  ["the leaf is no certificate", { tlsClientAuth: { certRFC9440: ":MIIB:" } }, "leaf_malformed"],
  [
    "the fingerprint is that of another leaf",
    { tlsClientAuth: { certFingerprintSHA256: fixtures.certificates["acme-b"].fingerprint } },
    "fingerprint_mismatch",
  ],
  ["the fingerprint is missing", { tlsClientAuth: { certFingerprintSHA256: "" } }, "fingerprint_mismatch"],
  [
    "the platform names another issuer than the leaf",
    { cert: "acme-a from ca-b", tlsClientAuth: { certIssuerSKI: fixtures.skis["ca-a"] } },
    "issuer_mismatch",
  ],
])("%s: refused", async (_, parts, reason) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send(parts), { status: 401, code: "client-cert-invalid", reason })
})

test("IDN-13 a leaf too large to be reported is refused, whatever else is known about it", async () => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ cert: "padded" }), {
    status: 403,
    code: "client-cert-invalid",
    reason: "leaf_too_large",
  })
})

test.each([
  "FAILED",
  "FAILED:unable to get local issuer certificate",
  "success",
  "SUCCESS ",
  "NONE",
  "",
  undefined,
  true,
  {},
  ["SUCCESS"],
])("IDN-14 certVerified %j is not SUCCESS", async (certVerified) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ tlsClientAuth: { certVerified } }), {
    status: 401,
    code: "client-cert-invalid",
  })
})

test.each([1, true, "true", "01", "", undefined])("IDN-14 certPresented %j is not 1", async (certPresented) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ tlsClientAuth: { certPresented } }), {
    status: 401,
    code: "client-cert-required",
  })
})

test.each([0, false, "", "00", undefined])("IDN-14 certRevoked %j is not 0", async (certRevoked) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ tlsClientAuth: { certRevoked } }), {
    status: 401,
    code: "client-cert-invalid",
    reason: "cert_revoked",
  })
})

test("a leaf that has been accepted once is refused once it has expired", async () => {
  let nowMs = Date.now()
  const gateway = createGateway({}, { nowMs: () => nowMs })
  const before = await gateway.send()
  nowMs += 91 * 86_400_000
  const after = await gateway.send()
  expect([before.response.status, after.response.status]).toEqual([200, 401])
})

test("a leaf that has been accepted once is compared with the platform's word every time", async () => {
  const gateway = createGateway()
  const before = await gateway.send()
  const after = await gateway.send({ tlsClientAuth: { certFingerprintSHA256: "00" } })
  expect([before.response.status, after.response.status]).toEqual([200, 401])
})

test("LOG-01 a line feed and an escape sequence in a certificate reach the log escaped, on one line", async () => {
  const { response } = await createGateway().send({ cert: "line feed in common name" })
  expect(response.status).toBe(200)
  expect(writtenLines().filter((line) => /[\x00-\x1f]/.test(line))).toEqual([])
})

describe("a Worker whose platform nobody has declared", () => {
  test("HDR-07 refuses facts that anybody could have written", async () => {
    const gateway = createGateway({}, { trust: { kind: "nobody" } })
    await expectRefusal(gateway, await gateway.send(), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "platform_not_declared",
    })
  })

  test("TLS-02 refuses a missing certificate as one", async () => {
    const gateway = createGateway({}, { trust: { kind: "nobody" } })
    await expectRefusal(gateway, await gateway.send({ cert: "none" }), { status: 401, code: "client-cert-required" })
  })

  test("still answers routes that need no certificate", async () => {
    const { response } = await createGateway({}, { trust: { kind: "nobody" } }).send({ target: "/healthz" })
    expect(response.status).toBe(200)
  })
})

describe("a Worker behind the local edge", () => {
  const KEY = crypto.getRandomValues(new Uint8Array(32))
  const edgeGateway = (nowMs?: () => number) =>
    createGateway({}, { trust: { kind: "edge", key: KEY }, ...(nowMs === undefined ? {} : { nowMs }) })

  test("believes an assertion, and adopts its request id", async () => {
    const rid = newRequestId()
    const { response, event } = await edgeGateway().send(await asserted({}, { rid }))
    expect([response.status, response.headers.get("x-request-id"), event.request_id]).toEqual([200, rid, rid])
  })

  test("HDR-07 refuses facts without an assertion", async () => {
    const gateway = edgeGateway()
    await expectRefusal(gateway, await gateway.send(), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_missing",
    })
  })

  test("TLS-02 refuses an asserted connection without a certificate as one", async () => {
    const gateway = edgeGateway()
    await expectRefusal(gateway, await gateway.send(await asserted({ cert: "none" })), {
      status: 401,
      code: "client-cert-required",
    })
  })

  test("HDR-07 refuses an assertion that was used before", async () => {
    const gateway = edgeGateway()
    const parts = await asserted()
    expect((await gateway.fetch(parts)).status).toBe(200)
    const response = await gateway.fetch(parts)
    expect(await response.json()).toMatchObject({ status: 401, code: "edge-assertion-invalid" })
    expect(writtenLines().filter((line) => line.includes("edge_assertion_replayed"))).toHaveLength(1)
  })

  test("HDR-07 accepts one of 20 parallel requests with one assertion", async () => {
    const gateway = edgeGateway()
    const parts = await asserted()
    const responses = await Promise.all(Array.from({ length: 20 }, () => gateway.fetch(parts)))
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  test.each<readonly [string, RequestParts]>([
    ["method", { method: "DELETE" }],
    ["host", { host: "a.test" }],
    ["path", { target: "/admin/x" }],
    ["query", { target: "/public/x?a=1" }],
    ["caller's address", { headers: { "CF-Connecting-IP": "127.0.0.1" } }],
    ["certificate", { cert: "acme-b" }],
    ["word on revocation", { tlsClientAuth: { certRevoked: "1" } }],
  ])("HDR-07 refuses an assertion made for another %s", async (_, other) => {
    const gateway = edgeGateway()
    const { cf: signed } = await asserted()
    const isAboutConnection = other.cert !== undefined || other.tlsClientAuth !== undefined
    const cf = {
      ...(signed as object),
      ...(isAboutConnection ? { tlsClientAuth: platformFacts(other.cert ?? "acme-a", other.tlsClientAuth) } : {}),
    }
    await expectRefusal(gateway, await gateway.send({ ...other, cf }), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_forged",
    })
  })

  test("HDR-07 refuses an assertion made with another key", async () => {
    const gateway = edgeGateway()
    await expectRefusal(gateway, await gateway.send(await asserted({}, { key: new Uint8Array(32) })), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_forged",
    })
  })

  test.each([
    ["has expired", 0],
    ["is valid for longer than 30 s", 30_001],
  ])("HDR-07 refuses an assertion that %s", async (_, validMs) => {
    const nowMs = Date.now()
    const gateway = edgeGateway(() => nowMs)
    await expectRefusal(gateway, await gateway.send(await asserted({}, { exp: nowMs + validMs })), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_expired",
    })
  })

  test.each([null, "", {}, [], { rid: "x", exp: 1, mac: "00" }])(
    "HDR-07 refuses the assertion %j",
    async (edgeAssertion) => {
      const gateway = edgeGateway()
      const cf = { tlsClientAuth: platformFacts("acme-a"), edgeAssertion }
      await expectRefusal(gateway, await gateway.send({ cf }), {
        status: 401,
        code: "edge-assertion-invalid",
        reason: "edge_assertion_malformed",
      })
    },
  )

  /** Returns the parts with `cf` as the edge would send it for exactly this request. */
  async function asserted(
    parts: RequestParts = {},
    {
      rid = newRequestId(),
      exp = Date.now() + 10_000,
      key = KEY,
    }: Partial<EdgeAssertion & { readonly key: Uint8Array<ArrayBuffer> }> = {},
  ): Promise<RequestParts> {
    const facts = { tlsClientAuth: platformFacts(parts.cert ?? "acme-a"), tlsVersion: "TLSv1.3" }
    const request = { method: "GET", host: "gw.test", target: "/public/x", clientAddress: CLIENT_ADDRESS }
    const text = signedText({ rid, exp }, request, JSON.stringify(facts))
    const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)))
    return { ...parts, cf: { ...facts, edgeAssertion: { rid, exp, mac: formatHex(mac) } } }
  }
})

function newRequestId(): string {
  return mintRequestId(Date.now(), crypto.getRandomValues(new Uint8Array(10)))
}

function failed(cert: CertificateName, certVerified: string): RequestParts {
  return { cert, tlsClientAuth: { certVerified } }
}
