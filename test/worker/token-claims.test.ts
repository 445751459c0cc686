/**
 * Goal: a token that its server has signed opens a route only in time, for us, for the client and the certificate of this very
 * connection, and with the scopes of the method; also when it is remembered. Method: as in `token.test.ts`.
 */
import { describe, expect, test } from "vitest"
import { expectRefusal, fixtures } from "./harness.ts"
import {
  AUDIENCE,
  bearer,
  claimsFor,
  createToken,
  createTokenGateway,
  ISSUER,
  present,
  thumbprintOf,
} from "./tokens.ts"

const INVALID = 'Bearer realm="sekisho", error="invalid_token"'

describe("JWT-07: expiry", () => {
  const nowSeconds = (): number => Math.floor(Date.now() / 1_000)
  test.each([
    ["61 s ago", () => ({ iat: nowSeconds() - 361, exp: nowSeconds() - 61 }), "token-expired", "expired"],
    ["missing", () => ({ exp: undefined }), "token-invalid", "exp_missing"],
    ["a string", () => ({ exp: "9999999999" }), "token-invalid", "exp_malformed"],
    ["beyond every number of ms", () => ({ exp: 1e308 }), "token-invalid", "lifetime_too_long"],
    ["negative", () => ({ exp: -1 }), "token-invalid", "exp_malformed"],
    ["null", () => ({ exp: null }), "token-invalid", "exp_malformed"],
    ["a list", () => ({ exp: [9_999_999_999] }), "token-invalid", "exp_malformed"],
    ["in ms", () => ({ exp: 9_999_999_999_999 }), "token-invalid", "lifetime_too_long"],
    ["too far away", () => ({ exp: nowSeconds() + 90_000 }), "token-invalid", "lifetime_too_long"],
  ])("%s", async (_, claims, code, reason) => {
    const { gateway, exchanged, challenge } = await present({ claims: claims() })
    await expectRefusal(gateway, exchanged, { status: 401, code, reason })
    expect(challenge).toBe(INVALID)
  })

  test("a token that is remembered expires at its time", async () => {
    const startMs = Date.now()
    let nowMs = startMs
    const gateway = await createTokenGateway({}, { nowMs: () => nowMs })
    const headers = bearer(await createToken(gateway, { claims: claimsFor(gateway, startMs) }))
    const expiresMs = Number(claimsFor(gateway, startMs)["exp"]) * 1_000 + 5_000
    const statuses = []
    for (const atMs of [startMs, expiresMs - 1, expiresMs]) {
      nowMs = atMs
      statuses.push((await gateway.send({ target: "/admin/x", headers })).response.status)
    }
    expect(statuses).toEqual([200, 200, 401])
  })

  test.each([
    ["not_yet_valid", () => ({ nbf: nowSeconds() + 60 })],
    ["issued_in_the_future", () => ({ iat: nowSeconds() + 60 })],
    ["nbf_malformed", () => ({ nbf: "0" })],
    ["iat_malformed", () => ({ iat: null })],
  ])("%s", async (reason, claims) => {
    const { gateway, exchanged } = await present({ claims: claims() })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason })
  })
})

describe("JWT-09: audience", () => {
  test.each([
    [undefined],
    ["other"],
    [[]],
    [["other"]],
    [`${AUDIENCE}.evil`],
    ["https://GW.test"],
    [[AUDIENCE, "other"]],
    [{ aud: AUDIENCE }],
  ])("%j is not us alone", async (aud) => {
    const { gateway, exchanged } = await present({ claims: { aud } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "aud_mismatch" })
  })

  test("among others is enough when the configuration lists it", async () => {
    const { exchanged } = await present({ claims: { aud: ["other", AUDIENCE] } }, "/admin/x", { audience: [AUDIENCE] })
    expect(exchanged.response.status).toBe(200)
  })

  test.each([[`${ISSUER}/`], ["https://LOGIN.test"], [[ISSUER]], [undefined]])("nor is %j the issuer", async (iss) => {
    const { gateway, exchanged } = await present({ claims: { iss } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "iss_mismatch" })
  })
})

describe("JWT-11: other JWTs of the same server", () => {
  test.each([["JWT"], ["dpop+jwt"], ["logout+jwt"], ["gw-assertion+jwt"], [undefined], [7]])(
    "of the type %j are no access tokens",
    async (typ) => {
      const { gateway, exchanged } = await present({ header: { typ } })
      await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "typ_not_allowed" })
    },
  )

  test.each(["sub", "client_id", "jti", "iat"])("nor is one without %s", async (name) => {
    const { gateway, exchanged } = await present({ claims: { [name]: undefined } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: `${name}_missing` })
  })
})

describe("binding to the certificate (RFC 8705 §3)", () => {
  test("JWT-12: a token of A's certificate is refused over B's connection, also when it is remembered", async () => {
    const gateway = await createTokenGateway()
    const headers = bearer(await createToken(gateway))
    const first = await gateway.send({ target: "/here", headers })
    const exchanged = await gateway.send({ target: "/here", headers, cert: "acme-b" })
    expect(first.response.status).toBe(200)
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-binding-mismatch" })
    const { fingerprint: ofA } = fixtures.certificates["acme-a"]
    const { fingerprint: ofB } = fixtures.certificates["acme-b"]
    expect(exchanged.event.reason).toBe(`cnf_mismatch bound=${ofA} presented=${ofB}`)
  })

  test("another certificate of the same client needs a token of its own", async () => {
    const certificates = (["acme-a", "acme-dn"] as const).map((name) => ({
      fingerprint: fixtures.certificates[name].fingerprint,
    }))
    const gateway = await createTokenGateway({}, {}, { CLIENTS: [{ id: "renewing", certificates }] })
    const headers = bearer(await createToken(gateway, { claims: { client_id: "renewing" } }))
    const exchanged = await gateway.send({ target: "/here", headers, cert: "acme-dn" })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-binding-mismatch" })
  })

  test.each([
    [undefined, "cnf_missing"],
    [{}, "cnf_unreadable"],
    [{ jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }, "cnf_unreadable"],
    [{ "x5t#S256": 7 }, "cnf_unreadable"],
    [{ "x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v1" }, "cnf_unreadable"],
    ["x5t#S256", "cnf_unreadable"],
    [null, "cnf_unreadable"],
  ])("JWT-13: cnf %j binds to nothing", async (cnf, reason) => {
    const { gateway, exchanged, challenge } = await present({ claims: { cnf } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-binding-mismatch", reason })
    expect(challenge).toBe(INVALID)
  })

  test("where binding is not required a token without cnf is good", async () => {
    const { exchanged } = await present({ claims: { cnf: undefined } }, "/admin/x", { certificate_bound: false })
    expect(exchanged.response.status).toBe(200)
  })

  test("where binding is not required a cnf that is there is compared", async () => {
    const cnf = { "x5t#S256": thumbprintOf("acme-b") }
    const { gateway, exchanged } = await present({ claims: { cnf } }, "/admin/x", { certificate_bound: false })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-binding-mismatch" })
  })
})

describe("the client of a token", () => {
  test("is the certificate's client", async () => {
    const { gateway, exchanged } = await present({ claims: { client_id: "somebody" } })
    const reason = 'client_mismatch "somebody"'
    await expectRefusal(gateway, exchanged, { status: 403, code: "token-client-mismatch", reason })
  })

  test("may have other names at the authorization server", async () => {
    const gateway = await createTokenGateway({}, {}, clientsWith(["portal-1", "portal-2"]))
    const headers = bearer(await createToken(gateway, { claims: { client_id: "portal-2" } }))
    expect((await gateway.send({ target: "/here", headers })).response.status).toBe(200)
  })

  test("who names some has no other", async () => {
    const gateway = await createTokenGateway({}, {}, clientsWith(["portal-1"]))
    const headers = bearer(await createToken(gateway, { claims: { client_id: "renamed" } }))
    const exchanged = await gateway.send({ target: "/here", headers })
    await expectRefusal(gateway, exchanged, { status: 403, code: "token-client-mismatch" })
  })

  test("is read from sub where the server says so", async () => {
    const gateway = await createTokenGateway({ client_claim: "sub" })
    const claims = { sub: gateway.clientId("acme-a"), client_id: "portal" }
    const headers = bearer(await createToken(gateway, { claims }))
    expect((await gateway.send({ target: "/here", headers })).response.status).toBe(200)
  })

  test("is not compared where the server says so", async () => {
    const { exchanged } = await present({ claims: { client_id: "portal" } }, "/here", { client_claim: false })
    expect(exchanged.response.status).toBe(200)
  })

  const clientsWith = (names: readonly string[]) => ({
    CLIENTS: [
      { id: "renamed", certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }], oauth_clients: names },
    ],
  })
})

describe("JWT-15: scopes", () => {
  test.each([
    ["not-admin"],
    ["admin2"],
    ["ADMIN"],
    ["read\tadmin"],
    ["read\u00a0admin"],
    ["read  admin"],
    [["admin"]],
    [{ admin: true }],
    [undefined],
  ])("%j does not grant admin", async (scope) => {
    const { gateway, exchanged, challenge } = await present({ claims: { scope, scp: ["admin"] } })
    const reason = "scope_missing admin"
    await expectRefusal(gateway, exchanged, { status: 403, code: "insufficient-scope", reason })
    expect(challenge).toBe('Bearer realm="sekisho", error="insufficient_scope", scope="admin"')
  })

  test("are asked for by method, HEAD like GET", async () => {
    const gateway = await createTokenGateway()
    const reading = bearer(await createToken(gateway, { claims: { scope: "read" } }))
    const paying = bearer(await createToken(gateway, { claims: { scope: "pay read" } }))
    const answers = []
    for (const [method, headers] of [
      ["GET", reading],
      ["HEAD", reading],
      ["POST", reading],
      ["POST", paying],
    ] as const) {
      const { response } = await gateway.send({ method, target: "/pay", headers })
      answers.push(response.status)
    }
    expect(answers).toEqual([200, 200, 403, 200])
  })

  test("are evaluated for a token that is remembered, too", async () => {
    const gateway = await createTokenGateway()
    const headers = bearer(await createToken(gateway, { claims: { scope: "read" } }))
    const statuses = []
    for (const target of ["/pay", "/admin/x", "/pay"])
      statuses.push((await gateway.send({ target, headers })).response.status)
    expect(statuses).toEqual([200, 403, 200])
  })
})
