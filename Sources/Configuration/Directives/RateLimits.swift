import Primitives

extension Interpreter {
    /// `rate_limit RATE [burst N] per client|address|route;`
    ///
    /// - Parameter limits: those of the lines before it in the same block.
    mutating func rateLimit(_ statement: Statement, into limits: inout [RateLimit]) {
        var rest = statement.arguments[...]
        let rate = rate(rest.removeFirst())
        var burst: Argument?
        if rest.first?.text == "burst", rest.count > 1 {
            rest.removeFirst()
            burst = rest.removeFirst()
        }
        guard rest.first?.text == "per", rest.count == 2, let last = rest.last else {
            let fault = rest.first ?? statement.lastWord
            sink.error(
                "\(shown(fault.text)) does not belong here", at: fault.span,
                "expected RATE [burst N] per client|address|route")
            return
        }
        let count = burst.map { integer($0, 1...RateLimit.burstLimit) }
        let subject = choice(last, RateLimit.Subject.self)
        guard let rate, let subject, count != .some(nil) else { return }
        let limit = RateLimit(rate.count, per: rate.unit, burst: count ?? nil, of: subject)
        guard isBack(limit, burst ?? statement.arguments[0]) else { return }
        guard !limits.contains(limit) else {
            sink.error(
                "\(shown("rate_limit " + limit.text)) is here twice", at: statement.name.span)
            return
        }
        guard limits.count < RateLimit.lineLimit else {
            sink.error(
                "more than \(RateLimit.lineLimit) 'rate_limit' in one block",
                at: statement.name.span)
            return
        }
        limits.append(limit)
    }

    /// `100/s 5000/m 20/h 5/d`
    private mutating func rate(_ argument: Argument) -> (count: Int, unit: RateLimit.Unit)? {
        let parts = argument.text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let unit = RateLimit.Unit(rawValue: String(parts[1])),
            !parts[0].isEmpty, parts[0].utf8.allSatisfy({ (48...57).contains($0) })
        else {
            sink.error(
                "\(shown(argument.text)) is no rate", at: argument.span,
                "expected requests in a second, minute, hour or day, as 100/s, 5000/m, 20/h or 5/d")
            return nil
        }
        let (limit, _) = RateLimit.perSecondLimit.multipliedReportingOverflow(by: unit.seconds)
        guard let count = Int(parts[0]), (1...limit).contains(count) else {
            sink.error(
                "\(shown(argument.text)) is out of range", at: argument.span,
                "expected 1/\(unit.rawValue) to \(limit)/\(unit.rawValue)")
            return nil
        }
        return (count, unit)
    }

    /// Whether a burst that was used up comes back in a time that a gateway remembers.
    private mutating func isBack(_ limit: RateLimit, _ argument: Argument) -> Bool {
        let (refill, overflow) = limit.interval.multipliedReportingOverflow(by: UInt64(limit.burst))
        // Intervals are rounded up by less than a nanosecond.
        let longest = RateLimit.longestRefill.wholeNanoseconds + UInt64(limit.burst)
        guard overflow || refill > longest else { return true }
        sink.error(
            "a burst of \(limit.burst) takes more than \(durationText(RateLimit.longestRefill)) to come back at \(limit.count)/\(limit.unit.rawValue)",
            at: argument.span, "expected a smaller burst or a higher rate")
        return false
    }
}
