"""Deterministic simulation: the real signer, refresh and store logic, in every order, with every fault.

Worlds      A world is one program: its own copy of the package (`packages`: the same source imported under another
            name, so locks, caches, registries and `ContextVar`s at module level are its own; their contents are put
            back after each run; `atexit` functions are collected), its own event loop and its own clock.
            Or (`Plan.process`) it is one of several event loops of a program, in threads or one after the other.
Programs    `programs`: calls of the API, refreshes at once, revocations, clients that close, `keep_fresh`; one client
            for all or one for each.
Loop        `loop.VirtualLoop` runs real asyncio tasks in virtual time. Within a world, callbacks run in asyncio's
            order. A thread (`asyncio.to_thread`) runs as one step.
Operations  Whatever worlds share is used by operations (load, save, replace, lock, token request, reply, API call)
            that wait in the `universe` until a chooser picks one: the list of its choices replays a run. Time
            passes only when no operation can happen.
Shared      `stores`: one like a folder (atomic rename, a lock that death frees), one like a server (compare-and-set,
            leases). Both pass the package's public store contract. `disk`: the real `FileStore` on a simulated disk,
            where each system call may fail and a power cut loses or tears what was not synced. `redis_seam`: the
            real `RedisStore` on a simulated server. `provider`: rotating refresh tokens; reuse ends the grant, with
            or without a time of grace.
Seams       HTTP: `aiohttp.ClientSession` is `http.Session` during a run. Redis: `redis.asyncio.Redis`. Time: the
            loop's, and `OAuth2(clock=...)`. Disk: the copy's modules get another `os`, `open` and `fcntl`. Nothing
            else of the package is touched, and only its public names are used.
Faults      `faults.FAULTS`, by name. Each strikes one operation, before it or after its effect: crash, cancel (call,
            task, whole loop), ends of a program, pauses, refusals of save, load and lock by any error, lost and late
            replies, 401, 429, clock jumps, an administrator. Hooks that call the API are part of a `Plan`.
Invariants  sent twice: a refresh token that was used is sent again only if a process died or lost the reply.
            older: no older value replaces a newer one, and nobody brings back a deleted user.
            stored: what was rotated is stored if the store works for 5 s before all programs end.
            for ever, busy: nobody waits without end, nobody spins. dead holder: nobody waits for a dead program for
            longer than 10 s.
            ended: only what says so ends a grant. unwritable: a file that can never be replaced is noticed before.
            revoked: a revocation deletes no grant but the one that it ended.
            bounded: at most two token requests for each outside call; what was learned (Retry-After, ended grant,
            new token refused) is respected. no credential: no request without one.
Exploring   `explore.all_orders`: every order (up to operations that commute) of two worlds, one refresh, one fault.
            `explore.random_run(seed)`: more worlds, calls and faults.
By hand     python -m tests.simulation --seeds 1000000      many seeds; prints those that fail
            python -m tests.simulation --seed 4711          one again, with its story
            python -m tests.simulation --all                all orders
Known       What is found and not repaired yet is a row of `known.KNOWN`, and a strict expected failure.
"""
