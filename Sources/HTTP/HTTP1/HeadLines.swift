/// Takes the lines of a head out of a stream and puts their bytes into the head's own storage: the part that requests,
/// answers and trailers share. Each byte is looked at once, however the stream is cut.
struct HeadLines {
    enum Event {
        case needsMore
        /// A line without its CR LF, as a range of the storage.
        case line(Range<Int>)
    }

    private var lineStart = 0
    private var isAfterCR = false

    /// Where the line in progress begins in the storage.
    var currentStart: Int { lineStart }
    /// Whether any byte has come.
    private(set) var hasBegun = false

    /// Takes the rest of one line.
    ///
    /// - Parameters:
    ///   - allowsTab: HTAB is fine in field lines, not in a start line.
    ///   - limit: bytes that the storage may come to, line ends included.
    /// - Throws: the fault of the first wrong byte. What came before it is in the storage, however the stream was cut.
    mutating func next(
        _ input: Span<UInt8>, from offset: inout Int, into storage: inout [UInt8],
        allowsTab: Bool, limit: Int
    ) throws(HTTP1Error) -> Event {
        if offset < input.count { hasBegun = true }
        while offset < input.count {
            if isAfterCR {
                guard input[offset] == 0x0A else { throw .bareCarriageReturn }
                guard storage.count < limit else { throw .headTooLarge }
                offset += 1
                storage.append(0x0A)
                isAfterCR = false
                let line = lineStart..<storage.count - 2
                lineStart = storage.count
                return .line(line)
            }
            let stop = ASCII.firstControl(input, from: offset)
            if stop + 1 < input.count, input[stop] == 0x0D, input[stop + 1] == 0x0A,
                stop + 2 - offset <= limit - storage.count
            {
                // The rest of the line is here with its end, as it mostly is: one copy.
                storage.append(input, offset..<stop + 2)
                offset = stop + 2
                let line = lineStart..<storage.count - 2
                lineStart = storage.count
                return .line(line)
            }
            let room = max(limit - storage.count, 0)
            storage.append(input, offset..<min(stop, offset + room))
            guard stop - offset <= room else { throw .headTooLarge }
            offset = stop
            guard stop < input.count else { break }
            guard storage.count < limit else { throw .headTooLarge }
            switch input[stop] {
            case 0x0D:
                storage.append(0x0D)
                isAfterCR = true
            case 0x09 where allowsTab:
                storage.append(0x09)
            case 0x0A:
                throw .bareLineFeed
            default:
                throw .controlByte
            }
            offset += 1
        }
        return .needsMore
    }

    /// Forgets a line that is to be ignored, with its bytes.
    mutating func drop(_ line: Range<Int>, from storage: inout [UInt8]) {
        storage.removeSubrange(line.lowerBound...)
        lineStart = line.lowerBound
    }

    /// Reads a field line (RFC 9112 section 5).
    static func field(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(HTTP1Error) -> FieldLine {
        let text = bytes.extracting(line)
        let start = line.lowerBound
        if text[0] == 0x20 || text[0] == 0x09 { throw .obsFold }
        let colon = ASCII.firstOutsideToken(text, from: 0)
        guard colon < text.count else { throw .missingColon }
        guard text[colon] == 0x3A else {
            if text[colon] == 0x20 || text[colon] == 0x09 { throw .spaceBeforeColon }
            throw .invalidFieldName
        }
        guard colon > 0 else { throw .invalidFieldName }
        var first = colon + 1
        var last = text.count
        while first < last, text[first] == 0x20 || text[first] == 0x09 { first += 1 }
        while last > first, text[last - 1] == 0x20 || text[last - 1] == 0x09 { last -= 1 }
        return FieldLine(
            id: FieldName.lookup(text.extracting(0..<colon)),
            name: ByteRange(start: start, count: colon),
            value: ByteRange(start: start + first, count: last - first))
    }
}
