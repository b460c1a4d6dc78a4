import Primitives

/// Finds the headers of frames that the library drops without a word: DATA of closed streams, which must be judged by the
/// state that the stream has then, and frames of unknown types.
struct FrameWalker {
    struct Header {
        /// `nil` for a type that RFC 9113 does not know.
        var dataStream: Int32?
    }

    static let headerCount = 9
    private static let lastKnownType: UInt8 = 9
    /// Bytes of the preface or of a payload that are still to pass.
    private var skip: Int
    private var header: [UInt8] = []

    /// - Parameter preface: bytes before the first frame.
    init(preface: Int) {
        skip = preface
        header.reserveCapacity(FrameWalker.headerCount)
    }

    /// Goes on to the next whole header of a DATA frame or of one of unknown type.
    ///
    /// - Parameter offset: moves behind the header, or to the end of the input.
    /// - Returns: `nil` when the input has ended first.
    mutating func next(_ input: Span<UInt8>, from offset: inout Int) -> Header? {
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
            if kind == 0 { return Header(dataStream: Int32(clamping: stream)) }
            if kind > FrameWalker.lastKnownType { return Header(dataStream: nil) }
        }
        return nil
    }

    private func number(_ range: Range<Int>) -> Int {
        header[range].reduce(0) { $0 << 8 | Int($1) }
    }
}
