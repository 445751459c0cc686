/**
 * Which room a request belongs to, by its host alone: the pipeline of the clients, or the admin room. Each knows only its own
 * hosts, so nothing of one is ever reached through the other.
 */
import { createAdminApplication } from "./admin/admin.ts"
import type { Gateway } from "./context.ts"
import { parseHost } from "./core/route/target.ts"
import { createApplication } from "./gateway.ts"

/** Answers requests. */
export type Front = (request: Request, env: Env, ctx: ExecutionContext) => Response | Promise<Response>

/** Returns what answers every request of one isolate. */
export function createFront(gateway: Gateway): Front {
  const clients = createApplication(gateway)
  const room = gateway.config.admin
  if (room === undefined) return (request, env, ctx) => clients.fetch(request, env, ctx)
  const admin = createAdminApplication(gateway, room)
  return (request, env, ctx) => {
    // A host that cannot be read is nobody's: the pipeline refuses it.
    const host = parseHost(request.headers.get("host") ?? "")?.host
    return host !== undefined && room.hosts.has(host)
      ? admin.fetch(request, env, ctx)
      : clients.fetch(request, env, ctx)
  }
}
