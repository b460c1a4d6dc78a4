/// The exchanges of a worker that something off the loop is to answer, each under the ticket that its answer must carry.
struct WaitingExchanges {
    private var waiting: [UInt64: (exchange: Exchange, for: WaitCounts.Cause?)] = [:]
    private var counts = WaitCounts()
    private var lastTicket: UInt64 = 0

    /// Puts an exchange aside for what any request may wait for.
    ///
    /// - Returns: the ticket.
    mutating func add(_ exchange: Exchange) -> UInt64 { insert(exchange, nil) }

    /// Puts an exchange aside until there is what its token is judged by.
    ///
    /// - Returns: the ticket; `nil` when too many wait for the same.
    mutating func add(_ exchange: Exchange, for cause: WaitCounts.Cause) -> UInt64? {
        counts.begin(cause) ? insert(exchange, cause) : nil
    }

    /// - Returns: whose answer this is; `nil` when the exchange waits no more.
    mutating func take(_ ticket: UInt64) -> Exchange? {
        guard let (exchange, cause) = waiting.removeValue(forKey: ticket) else { return nil }
        if let cause { counts.end(cause) }
        return exchange
    }

    private mutating func insert(_ exchange: Exchange, _ cause: WaitCounts.Cause?) -> UInt64 {
        lastTicket += 1
        waiting[lastTicket] = (exchange, cause)
        return lastTicket
    }
}
