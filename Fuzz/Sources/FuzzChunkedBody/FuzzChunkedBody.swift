import HTTP

private struct Outcome: Equatable {
    var content: [UInt8] = []
    var trailers: [UInt8] = []
    var trailerCount = 0
    /// Where the body ended.
    var end: Int?
    var fault: HTTP1Error?
}

/// Decodes the bytes as they come when the stream is cut at `cuts`, which ascend.
private func decode(_ bytes: [UInt8], cuts: [Int], _ limits: HTTP1Limits) -> Outcome {
    var outcome = Outcome()
    var decoder = ChunkedDecoder(limits: limits)
    var start = 0
    do throws(HTTP1Error) {
        for end in cuts + [bytes.count] {
            let piece = Array(bytes[start..<end])
            var offset = 0
            reading: while true {
                switch try decoder.next(piece.span, from: &offset) {
                case .data(let range):
                    precondition(!range.isEmpty && range.upperBound == offset)
                    outcome.content += piece[range]
                case .needsMore:
                    precondition(offset == piece.count, "input is left")
                    break reading
                case .end:
                    outcome.end = start + offset
                    outcome.trailers = decoder.trailers.bytes
                    outcome.trailerCount = decoder.trailers.fields.count
                    for line in decoder.trailers.fields {
                        _ =
                            decoder.trailers.bytes[line.name.range]
                            + decoder.trailers.bytes[line.value.range]
                    }
                    return outcome
                }
            }
            start = end
        }
    } catch {
        outcome.fault = error
    }
    return outcome
}

private func check(_ bytes: [UInt8], _ limits: HTTP1Limits) -> Outcome {
    let whole = decode(bytes, cuts: [], limits)
    guard bytes.count > 1 else { return whole }
    // A place that depends on the input, so that libFuzzer moves it.
    let place = bytes.reduce(into: 17) { $0 = ($0 &* 31 &+ Int($1)) & 0xFFFF } % bytes.count
    precondition(decode(bytes, cuts: [place], limits) == whole, "a cut changes the content")
    precondition(
        decode(bytes, cuts: Array(1..<bytes.count), limits) == whole, "single bytes mean other")
    return whole
}

/// No stream crashes the decoder; cuts change nothing; what came out, written as one chunk with its trailers,
/// comes out again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzChunkedBody(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    _ = check(bytes, HTTP1Limits(headBytes: 48, fieldCount: 2))
    let outcome = check(bytes, HTTP1Limits())
    guard let end = outcome.end else { return 0 }
    precondition(end <= count && outcome.content.count + outcome.trailers.count <= end)
    var written: [UInt8] = []
    if !outcome.content.isEmpty {
        HTTP1Writer.appendChunkHeader(size: outcome.content.count, to: &written)
        written += outcome.content + [0x0D, 0x0A]
    }
    written += Array("0\r\n".utf8) + outcome.trailers + [0x0D, 0x0A]
    var again = decode(written, cuts: [], HTTP1Limits())
    precondition(again.end == written.count, "rewritten, it does not end")
    again.end = end
    precondition(again == outcome, "rewritten, it means other")
    return 0
}
