/**
 * A proxy on Node: Fastify with its own proxy and rate limit in memory, one process. Prints its port.
 */
import Fastify from "fastify"
import proxy from "@fastify/http-proxy"
import rateLimit from "@fastify/rate-limit"

const [, , upstream] = process.argv
const server = Fastify({ logger: false })
await server.register(rateLimit, { max: 1_000_000_000, timeWindow: 60_000 })
await server.register(proxy, { upstream })
await server.listen({ host: "127.0.0.1", port: 0 })
console.log(server.server.address().port)
