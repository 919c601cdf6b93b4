import type { components } from "./api.js";
import { neverSent, said } from "./fronts.js";
import type { Headers } from "./fronts.js";

export type Target = components["schemas"]["Lease"]["endpoints"][number];

/** What a function is asked. `query` and `path` are percent-encoded already; header names in lower case. */
export interface Request {
  readonly method?: string;
  readonly body?: Uint8Array | string;
  readonly contentType?: string;
  readonly query?: string;
  readonly path?: string;
  readonly headers?: Headers;
  /** Lets a request that may have run go to another copy, where the function deduplicates on it. Sent scoped. */
  readonly idempotencyKey?: string;
}

/** What a function answered, its own errors included. `endpoint` is who answered, `attempts` how many were called. */
export interface Answer {
  readonly status: number;
  readonly headers: globalThis.Headers;
  readonly body: Uint8Array;
  readonly endpoint: string;
  readonly attempts: number;
  readonly isFunctionError: boolean;
  /** By a lease that was over, while FISO could not be reached. */
  readonly isStale: boolean;
}

export type Raw = Pick<Answer, "status" | "headers" | "body">;

/** One call of one copy, never repeated. It throws `CallFailed`; anything else that it throws is not caught. */
export type Caller = (target: Target, request: Sent, timeoutMs: number) => Promise<Raw>;

/** A request as a copy gets it. */
export interface Sent {
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly path: string;
  readonly query: string;
}

export type Failure = NonNullable<components["schemas"]["LeasedAttempt"]["failure"]>;

const NEVER_RAN: readonly Failure[] = ["unreachable", "throttled", "refused", "rejected"];

export class CallFailed extends Error {
  constructor(readonly failure: Failure, message: string) {
    super(message);
  }

  get mayHaveRun(): boolean {
    return !NEVER_RAN.includes(this.failure);
  }
}

export function isSafe(request: Request): boolean {
  const overrides = ["x-http-method-override", "x-http-method", "x-method-override"];
  const isOverridden = overrides.some((name) => name in (request.headers ?? {}));
  return ["GET", "HEAD", "OPTIONS"].includes(request.method ?? "POST") && !isOverridden;
}

export function bytesOf(body: Uint8Array | string | undefined): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : (body ?? new Uint8Array());
}

export function headersOf(request: Request, body: Uint8Array, own: Headers, key: string | undefined): Headers {
  const typed: Headers = body.length || !isSafe(request) ? { "content-type": request.contentType ?? "application/json" } : {};
  return { ...typed, ...own, ...request.headers, ...(key === undefined ? {} : { "idempotency-key": key }) };
}

/** One exchange over HTTP; a redirect is an answer. Throws `CallFailed`. */
export async function exchange(url: string, request: Omit<Sent, "path" | "query">, timeoutMs: number): Promise<Raw> {
  const { method, headers } = request;
  const signal = AbortSignal.timeout(Math.max(1, Math.floor(timeoutMs)));
  const body = ["GET", "HEAD"].includes(method) ? null : new Uint8Array(request.body);
  try {
    const answer = await fetch(url, { method, headers, body, signal, redirect: "manual" });
    return { status: answer.status, headers: answer.headers, body: new Uint8Array(await answer.arrayBuffer()) };
  } catch (error) {
    if (signal.aborted) throw new CallFailed("timed_out", `no answer within ${(timeoutMs / 1000).toFixed(3)} s`);
    throw new CallFailed(neverSent(error) ? "unreachable" : "broken", said(error));
  }
}

/** Whether a copy can be called by HTTP from here: https, or http on this machine. */
export function speaksHttp(target: Target): boolean {
  return /^(https:\/\/|http:\/\/(127\.0\.0\.1|\[::1\]|localhost)([:/]|$))/.test(target.address);
}

export function below(target: Target, request: Pick<Sent, "path" | "query">): string {
  const suffix = request.path && !request.path.startsWith("/") ? `/${request.path}` : request.path;
  const url = target.address.replace(/\/+$/, "") + target.path + suffix;
  return request.query ? `${url}?${request.query}` : url;
}
