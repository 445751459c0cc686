/**
 * Goal: routes of a host are its own, and an origin gets the path that the route says while everybody else sees the caller's.
 * Method: the whole pipeline in front of the stub origin.
 */
import { expect, test } from "vitest"
import { createGateway, expectRefusal, type GatewayOptions, type TestGateway } from "./harness.ts"

const ROUTE = { origin: "stub", limits: "generous" }

function gatewayWith(routes: readonly object[], options?: GatewayOptions): TestGateway {
  return createGateway({ ROUTES: routes.map((route) => ({ ...ROUTE, ...route })) }, options)
}

test.each<[object, string, string]>([
  [{ prefix: "/v1", rewrite: { strip_prefix: "/v1" } }, "/v1/a%20b/?q=%2f..&r=/v1", "/a%20b/?q=%2f..&r=/v1"],
  [{ prefix: "/v1", rewrite: { strip_prefix: "/v1" } }, "/v1?x", "/?x"],
  [{ prefix: "/v1", rewrite: { replace_prefix: "/internal" } }, "/v1/a?$1", "/internal/a?$1"],
  [{ path: "/v1/a", rewrite: { replace_prefix: "/b" } }, "/v1/a", "/b"],
  [
    { regex: "^/v[0-9]+/items/(.+)$", rewrite: { path: "/items/$1" } },
    "/v2/items/%E5%8F%A3/1?x=1?",
    "/items/%E5%8F%A3/1?x=1?",
  ],
  [{ prefix: "/v1" }, "/v1/a", "/v1/a"],
])("an origin of %j gets of %s the target %s", async (route, target, expected) => {
  const gateway = gatewayWith([route])
  const { event, response } = await gateway.send({ target })
  expect(response.status).toBe(200)
  expect((await gateway.originRequests()).map((request) => request.target)).toEqual([expected])
  expect(event.path).toBe(target.replace(/\?.*$/, ""))
})

test.each(["/x..", "/x..;a", "/x", "/x/b"])(
  "PTH-01 a path whose rewritten form is not canonical goes nowhere: %s",
  async (target) => {
    const gateway = gatewayWith([{ regex: "^/x(.*)$", rewrite: { path: "/a/$1/c" } }])
    await expectRefusal(gateway, await gateway.send({ target }), {
      status: 400,
      code: "path-rejected",
      reason: "rewrite_path",
    })
  },
)

test("a rewrite never moves a request to another host or out of the base of the origin", async () => {
  const gateway = gatewayWith([{ regex: "^/x(.*)$", rewrite: { path: "/$1" } }])
  const { response } = await gateway.send({ target: "/x@evil.example:80" })
  expect(response.status).toBe(200)
  const [request] = await gateway.originRequests()
  expect(request?.target).toBe("/@evil.example:80")
})

test("a host has its own routes first, and those of every host behind them", async () => {
  const gateway = gatewayWith([
    { path: "/a", rewrite: { replace_prefix: "/general" } },
    { host: "a.test", prefix: "/", rewrite: { replace_prefix: "/only-a" } },
    { host: ["b.test"], prefix: "/b", rewrite: { replace_prefix: "/only-b" } },
  ])
  for (const [host, target] of [
    ["gw.test", "/a"],
    ["a.test", "/a"],
    ["b.test", "/a"],
    ["b.test", "/b/c"],
  ] as const)
    await gateway.send({ host, target })
  expect((await gateway.originRequests()).map(({ target }) => target)).toEqual([
    "/general",
    "/only-a/a",
    "/general",
    "/only-b/c",
  ])
})

test("a route of one host is not found on another", async () => {
  const gateway = gatewayWith([{ host: "a.test", prefix: "/" }])
  await expectRefusal(gateway, await gateway.send({ host: "b.test" }), {
    status: 404,
    code: "route-not-found",
    reason: "no_route",
  })
})

test("a method that a host's own route does not take is not tried at the routes of every host", async () => {
  const gateway = gatewayWith([{ prefix: "/" }, { host: "a.test", prefix: "/", methods: ["GET"] }])
  const exchanged = await gateway.send({ host: "a.test", method: "POST" })
  await expectRefusal(gateway, exchanged, { status: 405, code: "method-not-allowed" })
})

test("a rewritten path that has no form costs its client nothing", async () => {
  const gateway = createGateway({
    LIMITS: { generous: { rate: "1/h", burst: 1 } },
    ROUTES: [{ regex: "^/x(.*)$", rewrite: { path: "/a/$1" }, ...ROUTE }],
  })
  const statuses = []
  for (const target of ["/x..", "/x..", "/xy"]) statuses.push((await gateway.send({ target })).response.status)
  expect(statuses).toEqual([400, 400, 200])
})
