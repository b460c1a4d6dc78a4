import HTTP

/// All that a head says, in a form that can be compared.
private struct Meaning: Equatable {
    var method: [UInt8] = []
    var kind = HTTP.Method.get
    var target: [UInt8] = []
    var path: [UInt8] = []
    var query: [UInt8]?
    var authority: [UInt8] = []
    var version = HTTPVersion.http11
    var framing = BodyFraming.none
    var flags: [Bool] = []
    var fields: [Field] = []

    struct Field: Equatable {
        var id: FieldName
        var name: [UInt8]
        var value: [UInt8]
        var isNamedByConnection: Bool
    }

    init(_ head: RequestHead) {
        let bytes = head.bytes
        method = Array(bytes[head.methodRange.range])
        kind = head.method
        target = Array(bytes[head.target.range])
        path = Array(bytes[head.path.range])
        query = head.hasQuery ? Array(bytes[head.query.range]) : nil
        authority = Array(bytes[head.authority.range])
        version = head.version
        framing = head.framing
        flags = [
            head.isAsterisk, head.isAbsoluteForm, head.targetSchemeIsHTTPS, head.keepsAlive,
            head.expectsContinue, head.hasUnknownExpectation, head.wantsUpgrade,
            head.upgradesToWebSocket,
        ]
        fields = head.fields.map { line in
            Field(
                id: line.id, name: Array(bytes[line.name.range]),
                value: Array(bytes[line.value.range]),
                isNamedByConnection: head.connectionNames(line))
        }
    }

    /// The head in its plainest spelling.
    var written: [UInt8] {
        var output = method + [0x20] + target
        output += Array((version == .http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n").utf8)
        for field in fields { output += field.name + [0x3A] + field.value + [0x0D, 0x0A] }
        return output + [0x0D, 0x0A]
    }
}

private enum Outcome: Equatable {
    case complete(Meaning, end: Int)
    case incomplete
    case fault(HTTP1Error)
}

/// Parses the bytes as they come when the stream is cut at `cuts`, which ascend.
private func parse(_ bytes: [UInt8], cuts: [Int], _ limits: HTTP1Limits) -> Outcome {
    let head = RequestHead()
    var parser = RequestHeadParser(limits: limits)
    var start = 0
    do throws(HTTP1Error) {
        for end in cuts + [bytes.count] {
            let piece = Array(bytes[start..<end])
            if case .complete(let next) = try parser.parse(piece.span, from: 0, into: head) {
                return .complete(Meaning(head), end: start + next)
            }
            start = end
        }
    } catch {
        return .fault(error)
    }
    return .incomplete
}

private func check(_ bytes: [UInt8], _ limits: HTTP1Limits) -> Outcome {
    let whole = parse(bytes, cuts: [], limits)
    guard bytes.count > 1 else { return whole }
    // A place that depends on the input, so that libFuzzer moves it.
    let place = bytes.reduce(into: 17) { $0 = ($0 &* 31 &+ Int($1)) & 0xFFFF } % bytes.count
    precondition(parse(bytes, cuts: [place], limits) == whole, "a cut changes the meaning")
    precondition(
        parse(bytes, cuts: Array(1..<bytes.count), limits) == whole, "single bytes mean other")
    return whole
}

/// No stream crashes the parser; cuts change nothing; an accepted head, written plainly, means the same;
/// no accepted part holds a line end; a canonical path is its own canonical form, without a way up.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequestHead(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    _ = check(bytes, HTTP1Limits(requestLineBytes: 32, headBytes: 96, fieldCount: 4))
    guard case .complete(let meaning, let end) = check(bytes, HTTP1Limits()) else { return 0 }
    precondition(end <= count)
    for part in [meaning.target] + meaning.fields.flatMap({ [$0.name, $0.value] }) {
        precondition(!part.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 })
    }
    let again = parse(meaning.written, cuts: [], HTTP1Limits())
    precondition(
        again == .complete(meaning, end: meaning.written.count), "rewritten, it means other")
    checkCanonical(meaning.path)
    return 0
}

private func checkCanonical(_ path: [UInt8]) {
    var canonical: [UInt8] = []
    guard CanonicalPath.canonicalize(path.span, into: &canonical) else { return }
    var again: [UInt8] = []
    precondition(CanonicalPath.canonicalize(canonical.span, into: &again), "refused at last")
    precondition(again == canonical, "not canonical")
    precondition(canonical.first == 0x2F)
    let segments = canonical.split(separator: 0x2F, omittingEmptySubsequences: false)
    for (index, segment) in segments.enumerated() {
        let isEdge = index == 0 || index == segments.count - 1
        precondition(isEdge || !segment.isEmpty, "an empty segment")
        precondition(!segment.elementsEqual([0x2E]) && !segment.elementsEqual([0x2E, 0x2E]))
    }
}
