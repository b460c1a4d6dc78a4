/// Caches of confs that count no more. They give their memory back a little in each turn of the loop: never one long pause.
struct RetiredCaches {
    private var caches: [TokenCache] = []
    /// What they had been asked.
    private(set) var counters = TokenCache.Counters()

    mutating func add(_ cache: TokenCache) {
        counters = counters + cache.counters
        caches.append(cache)
    }

    /// - Returns: whether there was one: it is to be called again soon.
    mutating func discardSome() -> Bool {
        guard let cache = caches.last else { return false }
        if !cache.discardSome() { caches.removeLast() }
        return true
    }
}
