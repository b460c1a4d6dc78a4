import Primitives

/// Finds the headers of frames that the library does not tell of as it should: DATA of closed streams and frames of unknown
/// types are dropped without a word, and a CONTINUATION counts again for each piece that its header comes in.
struct FrameWalker {
    enum Frame: Equatable {
        /// With the length of its payload.
        case data(Int32, Int)
        /// How many of them the head in progress has.
        case continuation(count: Int)
        /// A type that RFC 9113 does not know.
        case unknown
    }

    static let headerCount = 9
    private static let headersType: UInt8 = 1
    private static let continuationType: UInt8 = 9
    /// Bytes of the preface or of a payload that are still to pass.
    private var skip: Int
    private var header: [UInt8] = []
    private var continuations = 0

    /// - Parameter preface: bytes before the first frame.
    init(preface: Int) {
        skip = preface
        header.reserveCapacity(FrameWalker.headerCount)
    }

    /// Goes on to the next whole header of one of these frames.
    ///
    /// - Parameter offset: moves behind the header, or to the end of the input.
    /// - Returns: `nil` when the input has ended first.
    mutating func next(_ input: Span<UInt8>, from offset: inout Int) -> Frame? {
        while offset < input.count {
            if skip > 0 {
                let step = min(skip, input.count - offset)
                skip -= step
                offset += step
                continue
            }
            header.append(input[offset])
            offset += 1
            guard header.count == FrameWalker.headerCount else { continue }
            let (kind, stream) = (header[3], number(5..<9) & 0x7FFF_FFFF)
            skip = number(0..<3)
            header.removeAll(keepingCapacity: true)
            switch kind {
            case 0: return .data(Int32(clamping: stream), skip)
            case FrameWalker.headersType: continuations = 0
            case FrameWalker.continuationType:
                continuations += 1
                return .continuation(count: continuations)
            case (FrameWalker.continuationType + 1)...: return .unknown
            default: break
            }
        }
        return nil
    }

    private func number(_ range: Range<Int>) -> Int {
        header[range].reduce(0) { $0 << 8 | Int($1) }
    }
}
