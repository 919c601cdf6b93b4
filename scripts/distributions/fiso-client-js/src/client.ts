import { createHash } from "node:crypto";
import { NoAnswer, FisoRefused } from "./errors.js";
import { below, bytesOf, CallFailed, exchange, headersOf, isSafe, speaksHttp } from "./calling.js";
import type { Answer, Caller, Failure, Raw, Request, Sent, Target } from "./calling.js";
import { Fronts, NAME } from "./fronts.js";
import type { Headers, Identify, ReportDocument } from "./fronts.js";
import { Leases } from "./leases.js";
import type { Held } from "./leases.js";

type Outcome = ReportDocument["leases"][number]["outcomes"][number];
type Attempt = Outcome["attempts"][number];

export interface Options {
  /** Who calls FISO: a signature of AWS's, or a bearer token. */
  readonly headers?: Identify;
  /** What lets the caller in at a copy: a function key, a token. */
  readonly targetHeaders?: (target: Target) => Headers;
  /** How copies of a provider are called that HTTP does not reach: `{aws: …}` around AWS's own SDK. */
  readonly callers?: Readonly<Record<string, Caller>>;
  /** At most so long does a lease serve while FISO cannot be reached; the policy's own time unless it says less. */
  readonly graceMs?: number;
  /** How long FISO is not asked again after it could not be reached. */
  readonly retryMs?: number;
  /** How long FISO's own answers may take. */
  readonly fisoTimeoutMs?: number;
  /** After so many outcomes, and `reportAfterMs` after the first, they are reported. 0: by `flush` alone. */
  readonly reportAt?: number;
  readonly reportAfterMs?: number;
}

const LEAST_ATTEMPT_MS = 100;
const DEFAULT_TIMEOUT_MS = 28_000;
const MOST_WAITING = 10_000;
const MOST_AT_ONCE = 100;
const NOT_OF_FISO = [502, 503, 504];

/**
 * A client of FISO. `call` asks FISO for a lease and calls the copies itself; `invoke` sends one request through FISO.
 * What the copies answer goes back as it is; after what cannot have run the next copy is tried, after what may have run
 * only where the function's policy says that it may be repeated. `close` before the program ends.
 */
export class Client {
  /** Outcomes that FISO has, and such as were given up because too many waited. */
  readonly tally = { accepted: 0, dropped: 0 };
  private readonly fronts: Fronts;
  private readonly leases: Leases;
  private readonly waiting: { token: string; front: number; outcome: Outcome }[] = [];
  private readonly badUntil = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<boolean> | undefined;

  constructor(urls: string | readonly string[], private readonly options: Options = {}) {
    const all = typeof urls === "string" ? [urls] : urls;
    if (all.length === 0) throw new FisoRefused("no address of FISO's is given");
    const trimmed = all.map((url) => url.replace(/\/+$/, ""));
    this.fronts = new Fronts(trimmed, options.headers ?? (() => ({})), options.fisoTimeoutMs ?? 2_000);
    this.leases = new Leases(this.fronts, options.graceMs, options.retryMs ?? 2_000);
  }

  /** The function's answer, its own errors included. Throws `NoAnswer`, `NoLease` or `FisoRefused`. */
  async call(name: string, request: Request = {}, timeoutMs?: number): Promise<Answer> {
    const body = bytesOf(request.body);
    const held = await this.leases.of(name, body.length);
    const { document } = held;
    const endsAt = performance.now() + Math.min(timeoutMs ?? Infinity, document.timeout_ms);
    const key = request.idempotencyKey ?? request.headers?.["idempotency-key"];
    const mayRepeat = repeats(held, key !== undefined, isSafe(request));
    const attempts: Attempt[] = [];
    const trail: string[] = [];
    const order = this.order(held);
    let raw: Raw | undefined;
    let [mayHaveRun, endpoint] = [false, ""];
    for (const [position, target] of order.entries()) {
      const left = endsAt - performance.now();
      if (left < LEAST_ATTEMPT_MS) break;
      const others = order.length - position - 1;
      const waits = mayRepeat && others ? Math.min(target.patience_ms, left / (others + 1)) : left;
      const headers = headersOf(request, body, { "x-fiso-deadline-ms": String(Math.floor(waits)) }, scoped(held, key));
      const sent = { method: request.method ?? "POST", headers, body, path: request.path ?? "", query: request.query ?? "" };
      const began = performance.now();
      const found = await this.once(target, sent, waits).catch(asFailure);
      attempts.push(row(held, target, began, found));
      endpoint = target.id;
      if (!(found instanceof CallFailed)) {
        raw = found;
        break;
      }
      this.badUntil.set(target.id, performance.now() + 10_000);
      trail.push(`${target.id}: ${found.failure} (${found.message})`);
      mayHaveRun ||= found.mayHaveRun;
      if (!follows(found.failure, found.mayHaveRun, document.fail_over_on, mayRepeat)) break;
    }
    const deadlinePassed = raw === undefined && performance.now() >= endsAt;
    if (attempts.length) this.note(held, body.length, raw?.body.length ?? 0, attempts, deadlinePassed);
    if (raw === undefined) {
      const why = trail.join("; ") || "none of its copies can be called from here in time";
      throw new NoAnswer(`${name}: ${why}`, mayHaveRun, deadlinePassed);
    }
    const isStale = performance.now() >= held.expiresAt;
    return { ...raw, endpoint, attempts: attempts.length, isFunctionError: raw.status >= 500, isStale };
  }

  /**
   * The function's answer through FISO. After what cannot have run the next front door is tried; after what may have
   * run only with `mayRepeat`. A request with an idempotency key stays with the first door without it.
   */
  async invoke(name: string, request: Request = {}, timeoutMs = DEFAULT_TIMEOUT_MS, mayRepeat = false): Promise<Answer> {
    if (!NAME.test(name)) throw new FisoRefused(`${JSON.stringify(name.slice(0, 80))} is no function's name`);
    const body = bytesOf(request.body);
    const repeatable = mayRepeat || isSafe(request);
    const isKeyed = request.idempotencyKey !== undefined || "idempotency-key" in (request.headers ?? {});
    const order = isKeyed && !repeatable ? [0] : this.fronts.order();
    const endsAt = performance.now() + timeoutMs;
    const problems: string[] = [];
    let mayHaveRun = false;
    for (const [position, front] of order.entries()) {
      const left = endsAt - performance.now();
      if (left < LEAST_ATTEMPT_MS) break;
      const share = repeatable ? left / (order.length - position) : left;
      const suffix = request.path && !request.path.startsWith("/") ? `/${request.path}` : (request.path ?? "");
      const query = request.query ? `?${request.query}` : "";
      const url = `${this.fronts.urls[front]}/v1/invoke/${name}${suffix}${query}`;
      const method = request.method ?? "POST";
      const own = headersOf(request, body, { "x-fiso-timeout-ms": String(Math.floor(share)) }, request.idempotencyKey);
      const headers = { ...own, ...(await this.fronts.identified(method, url, body)) };
      try {
        const raw = await exchange(url, { method, headers, body }, share);
        const ran = unanswered(raw);
        if (ran === undefined) return throughFiso(raw);
        if (!raw.headers.has("x-fiso-invocation-id")) this.fronts.wasAway(front);
        problems.push(`${this.fronts.urls[front]}: status ${raw.status} ${new TextDecoder().decode(raw.body).slice(0, 300)}`);
        mayHaveRun ||= ran;
        if (ran && !repeatable) break;
      } catch (error) {
        if (!(error instanceof CallFailed)) throw error;
        this.fronts.wasAway(front);
        problems.push(`${this.fronts.urls[front]}: ${error.message}`);
        mayHaveRun ||= error.mayHaveRun;
        if (error.mayHaveRun && !repeatable) break;
      }
    }
    const why = problems.join("; ") || "no time was left";
    throw new NoAnswer(`${name}: ${why}`, mayHaveRun, performance.now() >= endsAt);
  }

  /** Report what waits; false if FISO did not take all of it, which then waits on. */
  flush(): Promise<boolean> {
    this.flushing ??= this.flushed().finally(() => (this.flushing = undefined));
    return this.flushing;
  }

  /** Report what waits, once more. */
  async close(): Promise<void> {
    await this.flushing;
    await this.flush();
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** Those that can be called from here, with what failed just now last. */
  private order(held: Held): Target[] {
    const now = performance.now();
    const isBad = (target: Target) => Number((this.badUntil.get(target.id) ?? 0) > now);
    const known = held.document.endpoints.filter((each) => this.options.callers?.[each.provider] || speaksHttp(each));
    return known.sort((one, two) => isBad(one) - isBad(two));
  }

  private once(target: Target, sent: Sent, timeoutMs: number): Promise<Raw> {
    const given = this.options.callers?.[target.provider];
    if (given) return given(target, sent, timeoutMs);
    const headers = { ...sent.headers, ...this.options.targetHeaders?.(target) };
    return exchange(below(target, sent), { ...sent, headers }, timeoutMs);
  }

  private note(held: Held, request: number, response: number, attempts: Attempt[], isOver: boolean): void {
    const outcome = {
      number: held.calls++,
      request_size_bytes: request,
      response_size_bytes: response,
      deadline_passed: isOver,
      attempts,
    };
    this.waiting.push({ token: held.document.token, front: held.front, outcome });
    if (this.waiting.length > MOST_WAITING) {
      this.waiting.shift();
      this.tally.dropped += 1;
    }
    const at = this.options.reportAt ?? 50;
    if (at > 0 && this.waiting.length >= at) void this.flush();
    else if (at > 0) this.timer ??= setTimeout(() => this.timed(), this.options.reportAfterMs ?? 5_000).unref();
  }

  private timed(): void {
    this.timer = undefined;
    void this.flush();
  }

  /** In batches of one door each, oldest first. What FISO does not believe is not sent again. */
  private async flushed(): Promise<boolean> {
    while (this.waiting.length) {
      const front = this.waiting[0]?.front ?? 0;
      const batch = this.waiting.filter((each) => each.front === front).slice(0, MOST_AT_ONCE);
      const tokens = [...new Set(batch.map((each) => each.token))];
      const leases = tokens.map((token) => ({
        token,
        outcomes: batch.filter((each) => each.token === token).map((each) => each.outcome),
      }));
      try {
        this.tally.accepted += await this.fronts.report(front, { leases });
      } catch (error) {
        if (!(error instanceof FisoRefused)) return false;
        this.tally.dropped += batch.length;
      }
      const done = new Set(batch);
      this.waiting.splice(0, this.waiting.length, ...this.waiting.filter((each) => !done.has(each)));
    }
    return true;
  }
}

function asFailure(error: unknown): CallFailed {
  if (error instanceof CallFailed) return error;
  throw error;
}

/** By the same rule as FISO's own dispatch. */
function repeats(held: Held, isKeyed: boolean, isSafeMethod: boolean): boolean {
  const { idempotent, repeats_safe_methods: repeatsSafe } = held.document;
  if (isSafeMethod && repeatsSafe) return true;
  return idempotent === "yes" || (idempotent === "deduplicates_on_key" && isKeyed);
}

function follows(failure: Failure, ran: boolean, on: readonly string[], mayRepeat: boolean): boolean {
  if (failure === "rejected") return false;
  return ran ? mayRepeat && on.includes("lost") : on.includes("not_run");
}

/** The key as FISO itself would send it, so that a request that goes by both runs once. */
function scoped(held: Held, key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  const { tenant, function: name } = held.document;
  return createHash("sha256").update(`fiso-key\n${tenant}\n${name}\n${key}`).digest("hex");
}

function row(held: Held, target: Target, began: number, found: Raw | CallFailed): Attempt {
  const isAnswer = !(found instanceof CallFailed);
  return {
    endpoint: target.id,
    after_ms: Math.max(0, began - held.receivedAt),
    latency_ms: Math.max(0.001, performance.now() - began),
    ...(isAnswer ? { status: found.status, is_function_error: found.status >= 500 } : { failure: found.failure }),
  };
}

/** Of an answer that is none of the function's, whether the function may have run; undefined for one of its own. */
function unanswered(raw: Raw): boolean | undefined {
  const text = new TextDecoder().decode(raw.body);
  if (!raw.headers.has("x-fiso-invocation-id")) {
    if (raw.status >= 500) return true; // the gateway's: it may have handed the request on before it failed
    if (raw.status >= 400) throw new FisoRefused(`status ${raw.status}: ${text.slice(0, 300)}`);
  }
  if (!raw.headers.get("content-type")?.startsWith("application/problem+json")) return undefined;
  const problem = parsed(text);
  if (!String(problem["type"] ?? "").startsWith("urn:fiso:problem:")) return undefined;
  const what = `status ${raw.status}: ${problem["title"]}: ${problem["detail"]}`;
  if (![500, ...NOT_OF_FISO].includes(raw.status)) throw new FisoRefused(what);
  return raw.status !== 503 && problem["unknown_outcome"] !== false;
}

function parsed(text: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(text);
    return document !== null && typeof document === "object" ? (document as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function throughFiso(raw: Raw): Answer {
  const attempts = Number(raw.headers.get("x-fiso-attempts") ?? 0) || 0;
  const isFunctionError = raw.status >= 500 || raw.headers.has("x-fiso-function-error");
  return { ...raw, endpoint: raw.headers.get("x-fiso-endpoint") ?? "", attempts, isFunctionError, isStale: false };
}
