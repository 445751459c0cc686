/**
 * The admin room: what only administrators get to see, on hosts that clients do not use.
 *
 * Every request goes the same way, whatever it asks for: it is on the record, its host and its page are looked at, its address
 * is counted, then it has to prove who sends it. Only then is the page looked for, so that a stranger does not learn which there
 * are. Requests of this room are no requests of the gateway's: the metrics do not count them.
 */
import type { Hono } from "hono"
import { createIpLimitStage } from "../admit/ip-limit.ts"
import { createStagedApplication } from "../chain.ts"
import type { AdminRoom } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type GatewayEnv } from "../context.ts"
import { createAccessLogStage } from "../observe/access-log.ts"
import { createRequestIdStage } from "../observe/request-id.ts"
import { refuse } from "../reply.ts"
import { createCredentialsStage } from "./credentials.ts"
import { createMetricsPage } from "./metrics.ts"
import { createAdminTargetStage } from "./target.ts"

/** One page: what it may be asked with, and what answers. */
interface AdminPage {
  readonly methods: readonly string[]
  readonly answer: (c: GatewayContext) => Promise<Response>
}

/** Returns the application that answers on the hosts of the room. */
export function createAdminApplication(gateway: Gateway, room: AdminRoom): Hono<GatewayEnv> {
  const pages: ReadonlyMap<string, AdminPage> = new Map([
    ["/metrics", { methods: ["GET", "HEAD"], answer: createMetricsPage(gateway) }],
  ])
  return createStagedApplication([
    createAccessLogStage({ ...gateway, metrics: undefined }),
    createRequestIdStage(gateway),
    createAdminTargetStage(room),
    createIpLimitStage(),
    createCredentialsStage(gateway, room),
    function page(c) {
      const found = pages.get(required(c.get("exchange").path, "path"))
      if (found === undefined) return refuse(c, "route-not-found", { reason: "no_page" })
      if (found.methods.includes(c.req.raw.method)) return found.answer(c)
      return refuse(c, "method-not-allowed", { reason: "method", fields: [["Allow", found.methods.join(", ")]] })
    },
  ])
}
