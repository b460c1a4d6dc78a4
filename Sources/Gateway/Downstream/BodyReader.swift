import HTTP
import Primitives

/// Takes a message body out of the bytes of its connection, by its framing, and counts it. An object, so that to ask it is no
/// access to its owner's property, which would be checked each time.
final class BodyReader {
    private enum Framing {
        case finished
        case length(remaining: Int)
        case chunked
        case untilClose
        /// Content comes by itself and its end is told (HTTP/2); `remaining` where Content-Length promised one.
        case framed(remaining: Int?)
    }

    enum Event: Equatable {
        /// Content: a range of the input.
        case data(Range<Int>)
        case needsMore
        case end
    }

    private var framing = Framing.finished
    /// Made for the first chunked body, then reused.
    private var decoder: ChunkedDecoder?
    /// Told with the end of a framed body.
    private var framedTrailers = Trailers()
    /// Content bytes so far.
    private(set) var received = 0

    /// Whether all of the body has been taken.
    var isFinished: Bool {
        if case .finished = framing { true } else { false }
    }

    /// How many content bytes are still to come; `nil` when only the end will tell.
    var remaining: Int? {
        switch framing {
        case .finished: 0
        case .length(let remaining): remaining
        case .chunked, .untilClose: nil
        case .framed(let remaining): remaining
        }
    }

    /// The trailer section of a body that has ended.
    var trailers: Trailers { decoder?.trailers ?? framedTrailers }

    func begin(_ bodyFraming: BodyFraming) {
        forget()
        switch bodyFraming {
        case .none, .length(0):
            framing = .finished
        case .length(let count):
            framing = .length(remaining: count)
        case .chunked:
            framing = .chunked
            decoder = ChunkedDecoder()
        case .untilClose:
            framing = .untilClose
        }
    }

    private func forget() {
        received = 0
        // Mostly there is neither.
        if decoder != nil { decoder = nil }
        if !framedTrailers.isEmpty { framedTrailers = Trailers() }
    }

    /// Begins a body whose content its connection frames: `take` and `end` follow.
    func beginFramed(_ bodyFraming: BodyFraming) {
        forget()
        switch bodyFraming {
        case .none: framing = .finished
        case .length(let count): framing = .framed(remaining: count)
        case .chunked, .untilClose: framing = .framed(remaining: nil)
        }
    }

    /// Counts content of a framed body.
    func take(_ count: Int) {
        guard case .framed(let remaining) = framing else { return }
        received += count
        framing = .framed(remaining: remaining.map { max(0, $0 - count) })
    }

    /// A framed body has ended.
    func end(_ trailers: Trailers) {
        framing = .finished
        framedTrailers = trailers
    }

    /// The next piece of content in `input` from `offset`, which moves behind what was taken.
    func next(_ input: Span<UInt8>, from offset: inout Int) throws(HTTP1Error) -> Event {
        switch framing {
        case .finished:
            return .end
        case .length(let remaining):
            guard offset < input.count else { return .needsMore }
            let range = offset..<min(input.count, offset + remaining)
            framing =
                range.count == remaining ? .finished : .length(remaining: remaining - range.count)
            offset = range.upperBound
            received += range.count
            return .data(range)
        case .framed:
            return .needsMore
        case .untilClose:
            guard offset < input.count else { return .needsMore }
            let range = offset..<input.count
            offset = input.count
            received += range.count
            return .data(range)
        case .chunked:
            guard let event = try decoder?.next(input, from: &offset) else { return .end }
            switch event {
            case .data(let range):
                received += range.count
                return .data(range)
            case .needsMore:
                return .needsMore
            case .end:
                framing = .finished
                return .end
            }
        }
    }

    /// The connection ended: right for a body that lasts until then, a fault for every other.
    func connectionEnded() -> Bool {
        switch framing {
        case .finished:
            return true
        case .untilClose:
            framing = .finished
            return true
        case .length, .chunked, .framed:
            return false
        }
    }
}
