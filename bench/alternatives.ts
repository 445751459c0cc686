/**
 * What people would use instead, to be measured beside the gateway: each does less, and says so.
 *
 * Packages of `bench/alternatives/` are installed when they are asked for, so that nobody else has to have them. nginx and Caddy are
 * measured where they are installed.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { startBareWorker } from "./workerd.ts"
import { ROOT } from "./worker.ts"
import type { Target } from "./target.ts"

const FOLDER = join(ROOT, "bench/alternatives")

/** Starts every alternative that this machine can run. */
export async function startAlternatives(
  originUrl: string,
  directory: string,
  v8Flags: readonly string[],
): Promise<readonly Target[]> {
  if (!existsSync(join(FOLDER, "node_modules")))
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: FOLDER, stdio: "inherit" })
  return [
    await startHonoRateLimiter(originUrl, join(directory, "hono-rate-limiter"), v8Flags),
    await startFastify(originUrl),
    ...(isInstalled("nginx") ? [await startNginx(originUrl, join(directory, "nginx"))] : []),
    ...(isInstalled("caddy") ? [await startCaddy(originUrl, join(directory, "caddy"))] : []),
  ]
}

async function startHonoRateLimiter(originUrl: string, directory: string, v8Flags: readonly string[]): Promise<Target> {
  const worker = await startBareWorker({
    entry: join(FOLDER, "hono-rate-limiter.js"),
    variables: { ORIGIN: originUrl },
    objects: { LIMITER: "DurableObjectRateLimiter" },
    queues: [],
    compatibilityFlags: [],
    directory,
    v8Flags,
  })
  return {
    name: "hono-rate-limiter",
    does: "Hono, one window in a Durable Object, one call a request; no identity, no record",
    ...worker,
  }
}

async function startFastify(originUrl: string): Promise<Target> {
  const node = spawn(process.execPath, [join(FOLDER, "fastify.js"), originUrl], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [line] = (await once(createInterface(node.stdout), "line")) as [string]
  return {
    name: "fastify",
    does: "Node, @fastify/http-proxy, a limit in memory; no identity, no record",
    ...running(node, Number(line)),
  }
}

async function startNginx(originUrl: string, directory: string): Promise<Target> {
  const port = await freePort()
  await mkdir(directory, { recursive: true })
  await writeFile(
    join(directory, "nginx.conf"),
    `daemon off; master_process off; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/f;
  uwsgi_temp_path ${directory}/u; scgi_temp_path ${directory}/s;
  limit_req_zone $remote_addr zone=callers:1m rate=1000000r/s;
  upstream origin { server ${new URL(originUrl).host}; keepalive 32; }
  server {
    listen 127.0.0.1:${port};
    location / {
      limit_req zone=callers burst=1000000 nodelay;
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
    }
  }
}
`,
  )
  const nginx = spawn("nginx", ["-c", join(directory, "nginx.conf")], { stdio: ["ignore", "ignore", "inherit"] })
  await reachable(port)
  return { name: "nginx", does: "one process, limit_req; no identity, no record", ...running(nginx, port) }
}

async function startCaddy(originUrl: string, directory: string): Promise<Target> {
  const port = await freePort()
  await mkdir(directory, { recursive: true })
  const file = join(directory, "Caddyfile")
  await writeFile(
    file,
    `{\n  admin off\n  auto_https off\n}\nhttp://localhost:${port} {\n  bind 127.0.0.1\n  reverse_proxy ${new URL(originUrl).host}\n}\n`,
  )
  const caddy = spawn("caddy", ["run", "--config", file, "--adapter", "caddyfile"], {
    stdio: "ignore",
    env: { ...process.env, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
  })
  await reachable(port)
  return { name: "caddy", does: "forwards only: no limit, no identity, no record", ...running(caddy, port) }
}

/** Returns a child process as a target. */
export function running(child: ReturnType<typeof spawn>, port: number): Pick<Target, "port" | "pid" | "close"> {
  const exited = once(child, "exit")
  return {
    port,
    pid: child.pid ?? 0,
    async close() {
      child.kill()
      await exited
    },
  }
}

/** Returns whether a command is in the path. */
export function isInstalled(command: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, command)))
}

/** Returns a port that was free a moment ago: these servers cannot say which one they took. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** Resolves once the port answers; rejects after five seconds. */
async function reachable(port: number): Promise<void> {
  const url = `http://localhost:${port}/`
  const untilMs = Date.now() + 5_000
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  )
    if (Date.now() > untilMs) throw new Error(`Nothing answers at ${url}`)
}
