/**
 * What the local TLS edge costs: CPU time of a keep-alive request with a client certificate, against nginx that asks for the same
 * certificate and forwards to the same origin, and against what Node costs when it does less. Each ratio is taken within its round.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as delay } from "node:timers/promises"
import { ensurePki } from "../cli/pki/ensure.ts"
import { freePort, isInstalled, running } from "./alternatives.ts"
import type { EdgeTargetKind, EdgeTargetOptions } from "./edge-target.ts"
import { runMutualSlice, type Caller } from "./mutual-load.ts"
import { startOrigin } from "./parties.ts"
import { runRounds, type RoundsOptions } from "./rounds.ts"
import { reportTargets, type Target } from "./target.ts"
import { ROOT } from "./worker.ts"

/** How much to measure, and where a CPU profile of the edge goes; undefined for none. */
export interface EdgeBenchOptions extends RoundsOptions {
  readonly profile: string | undefined
}

/** The files of the certificates, by what they are to nginx. */
interface Files {
  readonly ca: string
  readonly certificate: string
  readonly crl: string
  readonly key: string
}

const NODE_TARGETS: readonly (readonly [kind: EdgeTargetKind, does: string])[] = [
  ["edge", "everything: grammar, certificate and list per request, signed details"],
  ["node-lean", "node:https and the edge's own client; checks nothing, adds nothing"],
  ["node-proxy", "node:https and node:http with pipes; checks nothing, adds nothing"],
  ["node-answer", "node:https that answers by itself; checks nothing, forwards nothing"],
  ["node-pipe", "node:tls and node:net, octets alone; no HTTP, one connection to the origin for each caller's"],
]

/** Measures and prints nginx, the edge and the floors below it. */
export async function benchEdge(options: EdgeBenchOptions): Promise<void> {
  const { directory, profile, requests } = options
  const origin = await startOrigin()
  const targets: Target[] = []
  try {
    const { port } = new URL(origin.url)
    const pki = await ensurePki(join(directory, "pki"), {
      clients: [{ id: "acme", sanUri: "spiffe://partners.example/acme", subject: "CN=acme,O=Acme,C=JP" }],
      hosts: ["localhost"],
      nowMs: Date.now(),
    })
    const files: Files = {
      ca: pki.ca.certificatePath,
      certificate: pki.server.certificatePath,
      crl: pki.crlPath,
      key: pki.server.keyPath,
    }
    const read = (path: string): Promise<string> => readFile(path, "utf8")
    const pair = await read(pki.clients[0]?.certificatePath ?? "")
    const caller: Caller = { ca: await read(files.ca), cert: pair, key: await read(pki.clients[0]?.keyPath ?? "") }
    if (isInstalled("nginx")) targets.push(await startNginx(Number(port), files, join(directory, "nginx")))
    else console.error("nginx is not installed: there is nothing to compare with")
    for (const [kind, does] of NODE_TARGETS) {
      targets.push({
        name: kind,
        does,
        ...(await startNode(
          {
            kind,
            originPort: Number(port),
            certificate: await read(files.certificate),
            privateKey: await read(files.key),
            clientCas: await read(files.ca),
            crl: await read(files.crl),
          },
          kind === "edge" ? profile : undefined,
        )),
      })
    }
    const slices = await runRounds(
      options,
      targets.map(
        ({ pid, port: own }) =>
          () =>
            runMutualSlice(own, caller, requests, pid),
      ),
    )
    reportTargets(targets, slices, "nginx", options)
  } finally {
    origin.close()
    await Promise.all(targets.map(async (target) => target.close()))
  }
}

async function startNode(
  options: EdgeTargetOptions,
  profile: string | undefined,
): Promise<Pick<Target, "port" | "pid" | "close">> {
  const flags = profile === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profile]
  const node = spawn(process.execPath, [...flags, join(ROOT, "bench/edge-target.ts"), JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [line] = (await once(createInterface(node.stdout), "line")) as [string]
  return running(node, Number(line))
}

/** What the edge does with nginx's means: certificate and list are checked, once a connection, and the origin is told the result. */
async function startNginx(originPort: number, files: Files, directory: string): Promise<Target> {
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
  keepalive_requests 1000000000; keepalive_timeout 60s;
  upstream origin { server 127.0.0.1:${originPort}; keepalive 32; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} ssl;
    server_name localhost;
    ssl_certificate ${files.certificate}; ssl_certificate_key ${files.key};
    ssl_client_certificate ${files.ca}; ssl_crl ${files.crl}; ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id; proxy_set_header X-Client-Address $remote_addr;
      proxy_set_header X-Client-Verify $ssl_client_verify; proxy_set_header X-Client-Subject $ssl_client_s_dn;
      proxy_set_header X-Client-Serial $ssl_client_serial; proxy_set_header X-Client-Certificate $ssl_client_escaped_cert;
    }
  }
}
`,
  )
  const nginx = spawn("nginx", ["-c", join(directory, "nginx.conf")], { stdio: ["ignore", "ignore", "inherit"] })
  await accepting(port)
  return { name: "nginx", does: "ssl_verify_client, ssl_crl; certificate in a field", ...running(nginx, port) }
}

/** Resolves once somebody listens; rejects after five seconds. */
async function accepting(port: number): Promise<void> {
  for (let attempt = 0; attempt < 250; attempt++) {
    const socket = connect(port, "127.0.0.1")
    const isOpen = await once(socket, "connect").then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return
    await delay(20)
  }
  throw new Error(`Nothing listens on port ${port}`)
}
