/**
 * Goal: nobody but an administrator sees anything of the admin room, and clients do not even see that it is there. Method: the
 * room as the Worker mounts it, asked with everything but the right secret, and by Access with keys that the test made.
 */
import { describe, expect, test, vi } from "vitest"
import { METRIC_MEDIA_TYPES } from "../../src/core/metric/openmetrics.ts"
import { createGateway, expectRefusal, fixtures, type GatewayOptions, type RequestParts } from "./harness.ts"
import type { TokenKeyName } from "./provided.ts"
import { sign } from "./tokens.ts"

/** Base64url of 32 octets. */
const TOKEN = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"
const ADMIN = { hosts: ["admin.test"], token_secret: "ADMIN_TOKEN" }

function createRoom(options: GatewayOptions = {}, admin: Readonly<Record<string, unknown>> = ADMIN) {
  return createGateway({ ADMIN: admin }, { counts: true, secrets: { ADMIN_TOKEN: TOKEN }, ...options })
}
const scrape = (parts: RequestParts = {}, token = TOKEN): RequestParts => ({
  host: "admin.test",
  target: "/metrics",
  cert: "none",
  ...parts,
  headers: { Authorization: `Bearer ${token}`, ...(parts.headers as Record<string, string> | undefined) },
})

describe("/metrics", () => {
  test("shows an administrator what was counted, and nothing of the request that asks", async () => {
    const gateway = createRoom()
    await gateway.fetch({ target: "/healthz" })
    await gateway.fetch(scrape())
    const { event, response } = await gateway.send(scrape())
    const text = await response.text()
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": METRIC_MEDIA_TYPES.openmetrics,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    })
    expect(text).toContain('sekisho_requests_total{route="/healthz",method="GET",status_class="2xx"} 1\n')
    expect(text).toContain("sekisho_request_duration_seconds_count 1\n")
    expect(text).toContain(`config_version="${gateway.config.version}"`)
    expect(event).toMatchObject({ outcome: "answered", status: 200, host: "admin.test", path: "/metrics" })
    expect(JSON.stringify(event)).not.toContain(TOKEN)
  })

  test("gives the older format to who asks for it, and no body to HEAD", async () => {
    const gateway = createRoom()
    const old = await gateway.fetch(scrape({ headers: { Accept: "text/plain" } }))
    expect([old.headers.get("content-type"), (await old.text()).includes("# EOF")]).toEqual([
      METRIC_MEDIA_TYPES.text,
      false,
    ])
    const head = await gateway.fetch(scrape({ method: "HEAD" }))
    expect([head.status, await head.text()]).toEqual([200, ""])
  })

  test("is refused with 503 when the object is not bound, or does not answer", async () => {
    const unbound = createRoom({ bindings: { METRICS: undefined } as unknown as Partial<Env> })
    await expectRefusal(unbound, await unbound.send(scrape()), {
      status: 503,
      code: "service-unavailable",
      reason: "binding_missing METRICS",
    })
    const failing = { getByName: () => ({ report: async () => {}, expose: () => Promise.reject(new Error("x")) }) }
    const broken = createRoom({ bindings: { METRICS: failing } as unknown as Partial<Env> })
    await expectRefusal(broken, await broken.send(scrape()), {
      status: 503,
      code: "service-unavailable",
      reason: "metrics_object_failed",
    })
  })
})

describe("who asks", () => {
  test.each<readonly [string, RequestParts, string]>([
    ["no token", { headers: { Authorization: "" } }, "no_authorization"],
    ["a wrong token", scrape({}, TOKEN.replace("q", "Q")), "admin_token_wrong"],
    ["the beginning of the token", scrape({}, TOKEN.slice(0, -1)), "admin_token_wrong"],
    ["the token and more", scrape({}, `${TOKEN}A`), "admin_token_wrong"],
    ["another scheme", { headers: { Authorization: `Basic ${TOKEN}` } }, "other_scheme"],
    [
      "the token in the query",
      { target: `/metrics?access_token=${TOKEN}`, headers: { Authorization: "" } },
      "token_in_query",
    ],
    ["a client certificate alone", { cert: "acme-a", headers: { Authorization: "" } }, "no_authorization"],
    [
      "an assertion of Access, which is not believed here",
      { headers: { Authorization: "", "Cf-Access-Jwt-Assertion": "x.y.z" } },
      "no_authorization",
    ],
  ])("MET-02 %s is refused with 401", async (_, parts, reason) => {
    const gateway = createRoom()
    const exchanged = await gateway.send({ ...scrape(), ...parts })
    await expectRefusal(gateway, exchanged, { status: 401, code: "admin-auth-required", reason })
    expect(exchanged.response.headers.get("www-authenticate")).toMatch(/^Bearer realm="sekisho-admin"/)
    expect(JSON.stringify(exchanged.event)).not.toContain(TOKEN.slice(1, 40))
  })

  test.each([
    [{}, "admin_secret_missing ADMIN_TOKEN"],
    [{ ADMIN_TOKEN: "" }, "admin_secret_missing ADMIN_TOKEN"],
    [{ ADMIN_TOKEN: "short" }, "admin_secret_weak ADMIN_TOKEN"],
  ])("ADM-02 without a secret of 32 octets nobody is let in, whatever they show", async (secrets, reason) => {
    const gateway = createRoom({ secrets })
    const exchanged = await gateway.send(scrape({}, Object.values(secrets)[0] ?? TOKEN))
    await expectRefusal(gateway, exchanged, { status: 503, code: "service-unavailable", reason })
  })

  test("a stranger does not learn which pages there are", async () => {
    const gateway = createRoom()
    const exchanged = await gateway.send({ ...scrape({ target: "/nowhere" }), headers: {} })
    await expectRefusal(gateway, exchanged, { status: 401, code: "admin-auth-required" })
  })

  test("an administrator is told of pages and methods that there are not", async () => {
    const gateway = createRoom()
    await expectRefusal(gateway, await gateway.send(scrape({ target: "/healthz" })), {
      status: 404,
      code: "route-not-found",
    })
    const posted = await gateway.send(scrape({ method: "POST" }))
    await expectRefusal(gateway, posted, { status: 405, code: "method-not-allowed" })
    expect(posted.response.headers.get("allow")).toBe("GET, HEAD")
  })

  test("an address that asks too often is told so before its token is looked at", async () => {
    const counter = { limit: async () => ({ success: false }) } as unknown as RateLimit
    const gateway = createRoom({ bindings: { IP_LIMIT: counter } })
    await expectRefusal(gateway, await gateway.send(scrape({}, "wrong")), { status: 429, code: "ip-rate-limited" })
  })
})

describe("where it is asked", () => {
  test("MET-02 a host of the gateway has no such page, also with the token", async () => {
    const gateway = createRoom()
    await expectRefusal(gateway, await gateway.send(scrape({ host: "gw.test" })), {
      status: 404,
      code: "route-not-found",
      reason: "no_route",
    })
  })

  test("a host of the room answers no client", async () => {
    const gateway = createRoom()
    await expectRefusal(gateway, await gateway.send({ host: "admin.test", target: "/public/x" }), {
      status: 401,
      code: "admin-auth-required",
    })
  })

  test("without a room its host is nobody's", async () => {
    const gateway = createGateway({}, { counts: true, secrets: { ADMIN_TOKEN: TOKEN } })
    await expectRefusal(gateway, await gateway.send(scrape()), { status: 421, code: "misdirected-request" })
  })

  test.each(["ADMIN.test", "admin.test:443", "admin.test:8443"])("%s is the room, too", async (host) => {
    expect((await createRoom().fetch(scrape({ host }))).status).toBe(200)
  })

  test.each(["admin.test.", "admin.test@gw.test", "gw.test, admin.test"])("%s is no host", async (host) => {
    const gateway = createRoom()
    const { response } = await gateway.send({
      ...scrape(),
      host: "gw.test",
      headers: { Host: host, Authorization: `Bearer ${TOKEN}` },
    })
    expect([400, 421]).toContain(response.status)
  })

  test("ADM-04 a web page of somebody else's gets nothing, also with the token", async () => {
    const gateway = createRoom()
    const exchanged = await gateway.send(scrape({ headers: { Origin: "https://evil.test" } }))
    await expectRefusal(gateway, exchanged, { status: 403, code: "origin-not-allowed" })
    expect((await gateway.fetch(scrape({ headers: { Origin: "https://admin.test" } }))).status).toBe(200)
  })
})

describe("Cloudflare Access", () => {
  const TEAM = "https://bank.cloudflareaccess.com"
  const AUDIENCE = "4714c1358e65fe4b408ad6d432a5f878"
  const ROOM = { hosts: ["admin.test"], access: { team: TEAM, audience: AUDIENCE } }
  const claims = (changed: object = {}) => {
    const nowSeconds = Math.floor(Date.now() / 1_000)
    return { iss: TEAM, aud: [AUDIENCE], iat: nowSeconds, exp: nowSeconds + 300, type: "app", ...changed }
  }
  const assertionOf = async (changed: object = {}, header: object = {}, key: TokenKeyName = "rs256") =>
    sign(
      JSON.stringify({ alg: key === "es256" ? "ES256" : "RS256", typ: "JWT", kid: key, ...header }),
      JSON.stringify(claims(changed)),
      key,
    )

  /** Answers in the place of the team; everything else goes its way. */
  function serveTeam(answer: () => Response): void {
    const { fetch } = globalThis
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) =>
      input === `${TEAM}/cdn-cgi/access/certs` ? answer() : fetch(input, init),
    )
  }
  const serveKeys = (): void => serveTeam(() => Response.json({ keys: [fixtures.tokenKeys.rs256.publicJwk] }))
  const knock = (assertion: string): RequestParts =>
    scrape({ headers: { Authorization: "", "Cf-Access-Jwt-Assertion": assertion } })

  test("lets in whom it vouches for", async () => {
    serveKeys()
    expect((await createRoom({}, ROOM).fetch(knock(await assertionOf()))).status).toBe(200)
  })

  test.each<readonly [string, Parameters<typeof assertionOf>, string]>([
    ["of another application", [{ aud: ["other"] }], "access_aud_mismatch"],
    ["of another team", [{ iss: "https://evil.cloudflareaccess.com" }], "access_iss_mismatch"],
    ["that is over", [{ exp: 1_000, iat: 900 }], "access_expired"],
    ["by another key", [{}, { kid: "rs256", alg: "RS256" }, "other"], "access_signature_invalid"],
    ["by another algorithm", [{}, {}, "es256"], "access_alg_not_allowed"],
    ["of another type", [{}, { typ: "at+jwt" }], "access_typ_not_allowed"],
  ])("an assertion %s is refused with 401", async (_, parts, reason) => {
    serveKeys()
    const gateway = createRoom({}, ROOM)
    const [changed = {}] = parts
    const assertion = await assertionOf(...parts)
    // Other claims under the signature of sound ones.
    const [head = "", body = ""] = assertion.split(".")
    const forged = [head, body, (await assertionOf()).split(".")[2]].join(".")
    const exchanged = await gateway.send(knock("forged" in changed ? forged : assertion))
    await expectRefusal(gateway, exchanged, { status: 401, code: "admin-auth-required", reason })
  })

  test("nothing that is shown counts without an assertion, where Access alone is asked", async () => {
    const gateway = createRoom({}, ROOM)
    await expectRefusal(gateway, await gateway.send(scrape()), {
      status: 401,
      code: "admin-auth-required",
      reason: "no_access_assertion",
    })
  })

  test("while its keys cannot be had nobody is let in by it, and the token still serves", async () => {
    vi.spyOn(console, "error").mockReturnValue()
    serveTeam(() => new Response(null, { status: 500 }))
    const gateway = createRoom({}, { ...ADMIN, ...ROOM })
    await expectRefusal(gateway, await gateway.send(knock(await assertionOf())), {
      status: 503,
      code: "service-unavailable",
      reason: "access_keys_unavailable",
    })
    expect((await gateway.fetch(scrape())).status).toBe(200)
  })
})
