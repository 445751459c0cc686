/**
 * The admin room in the configuration: hosts of its own and a way to prove who one is, or an error that says what is missing.
 */
import { describe, expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"

const VARS = {
  GATEWAY: { hosts: ["gw.test"] },
  ROUTES: [{ path: "/healthz", client_certificate: "none", respond: { status: 200 } }],
}
const TEAM = "https://bank.cloudflareaccess.com"
const AUDIENCE = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2"

function load(admin: unknown) {
  return loadConfig({ ...VARS, ADMIN: admin })
}
function errorsOf(admin: unknown): readonly string[] {
  const loaded = load(admin)
  return loaded.ok ? [] : loaded.errors.map(({ path, accepted }) => `${path}: ${accepted}`)
}

describe("loadConfig()", () => {
  test("knows of no admin room unless there is one", () => {
    expect(loadConfig(VARS)).toMatchObject({ ok: true, config: { admin: undefined } })
  })

  test("reads hosts and the name of the secret", () => {
    expect(load({ hosts: ["admin.test"], token_secret: "ADMIN_TOKEN" })).toMatchObject({
      config: { admin: { hosts: new Set(["admin.test"]), tokenSecret: "ADMIN_TOKEN", access: undefined } },
    })
  })

  test("believes a team of Access, for one application, with its own keys and algorithm", () => {
    expect(load({ hosts: ["admin.test"], access: { team: TEAM, audience: AUDIENCE } })).toMatchObject({
      config: {
        admin: {
          access: {
            issuer: TEAM,
            jwksUrl: `${TEAM}/cdn-cgi/access/certs`,
            audience: { kind: "any", values: [AUDIENCE] },
            algorithms: ["RS256"],
            types: ["jwt"],
          },
        },
      },
    })
  })

  test.each<readonly [string, unknown, RegExp]>([
    ["no hosts", { token_secret: "ADMIN_TOKEN" }, /^ADMIN\.hosts: required/],
    [
      "a host of the clients",
      { hosts: ["gw.test"], token_secret: "T" },
      /^ADMIN\.hosts\[0\]: a host that clients do not use/,
    ],
    ["nothing to prove who one is", { hosts: ["admin.test"] }, /^ADMIN: token_secret or access/],
    [
      "a name that is taken for a variable",
      { hosts: ["admin.test"], token_secret: "ADMIN" },
      /^ADMIN\.token_secret: a name that does not begin/,
    ],
    [
      "a token in place of its name",
      { hosts: ["admin.test"], token_secret: "s3cr3t" },
      /^ADMIN\.token_secret: the name of a Worker secret/,
    ],
    [
      "keys over a network in the open",
      { hosts: ["admin.test"], access: { team: "http://x.test", audience: "a" } },
      /^ADMIN\.access\.team: https/,
    ],
    [
      "a team with a path",
      { hosts: ["admin.test"], access: { team: `${TEAM}/`, audience: "a" } },
      /^ADMIN\.access\.team: the https URL/,
    ],
    [
      "an audience that is none",
      { hosts: ["admin.test"], access: { team: TEAM, audience: "a b" } },
      /^ADMIN\.access\.audience/,
    ],
    ["a key nobody knows", { hosts: ["admin.test"], token_secret: "T", token: "x" }, /^ADMIN\.token: no such key/],
    ["no table", "x", /^ADMIN: ADMIN: a table with hosts, token_secret, access/],
  ])("refuses %s", (_, admin, error) => {
    expect(errorsOf(admin)).toEqual([expect.stringMatching(error)])
  })
})

test("an error about the secret shows nothing of what stands there", () => {
  const loaded = load({ hosts: ["admin.test"], token_secret: "c2VjcmV0IHRva2Vu" })
  expect(JSON.stringify(loaded)).not.toContain("c2VjcmV0")
})
