/**
 * What a user of Hono would write: a reverse proxy with hono-rate-limiter and its own Durable Object store, counted by the
 * certificate that the platform names. One call of an object per request; nothing is verified, logged or traced.
 */
import { Hono } from "hono"
import { rateLimiter } from "hono-rate-limiter"
import { DurableObjectRateLimiter, DurableObjectStore } from "@hono-rate-limiter/cloudflare"

export { DurableObjectRateLimiter }

const application = new Hono()
application.use((c, next) =>
  rateLimiter({
    windowMs: 60_000,
    limit: 1_000_000_000,
    standardHeaders: "draft-6",
    keyGenerator: () => c.req.raw.cf?.tlsClientAuth?.certFingerprintSHA256 ?? "",
    store: new DurableObjectStore({ namespace: c.env.LIMITER }),
  })(c, next),
)
application.all("*", (c) => {
  const { pathname, search } = new URL(c.req.url)
  return fetch(new Request(c.env.ORIGIN + pathname + search, c.req.raw))
})

export default application
