import HTTP

/// How a message came out: its parsed head, or the fault. Cut at every byte, it must come out the same.
enum Parsed<Head> {
    case complete(Head, nextOffset: Int)
    case incomplete
    case fault(HTTP1Error)

    var fault: HTTP1Error? {
        if case .fault(let error) = self { return error }
        return nil
    }

    var head: Head? {
        if case .complete(let head, _) = self { return head }
        return nil
    }

    var isIncomplete: Bool {
        if case .incomplete = self { return true }
        return false
    }
}

func parseRequest(_ text: String, limits: HTTP1Limits = HTTP1Limits()) -> Parsed<RequestHead> {
    parseRequest(Array(text.utf8), limits: limits)
}

func parseRequest(
    _ bytes: [UInt8], limits: HTTP1Limits = HTTP1Limits()
) -> Parsed<RequestHead> {
    let head = RequestHead()
    var parser = RequestHeadParser(limits: limits)
    do throws(HTTP1Error) {
        switch try parser.parse(bytes.span, from: 0, into: head) {
        case .complete(let next): return .complete(head, nextOffset: next)
        case .incomplete: return .incomplete
        }
    } catch {
        return .fault(error)
    }
}

/// A request with these field lines besides Host.
func request(_ fields: String..., line: String = "POST /p HTTP/1.1") -> String {
    line + "\r\nHost: h.example\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
}

func parseResponse(
    _ text: String, limits: HTTP1Limits = HTTP1Limits(), to method: HTTP.Method = .get
) -> Parsed<ResponseHead> {
    parseResponse(Array(text.utf8), limits: limits, to: method)
}

func parseResponse(
    _ bytes: [UInt8], limits: HTTP1Limits = HTTP1Limits(), to method: HTTP.Method = .get
) -> Parsed<ResponseHead> {
    let head = ResponseHead()
    var parser = ResponseHeadParser(limits: limits)
    do throws(HTTP1Error) {
        switch try parser.parse(bytes.span, from: 0, into: head, requestMethod: method) {
        case .complete(let next): return .complete(head, nextOffset: next)
        case .incomplete: return .incomplete
        }
    } catch {
        return .fault(error)
    }
}

/// A chunked body's content and trailers, or its fault.
struct DecodedBody: Equatable {
    var content = ""
    var trailers: [String] = []
    /// Bytes behind the body.
    var rest = 0
    var isEnded = false
    var fault: HTTP1Error?
}

func decode(_ text: String, limits: HTTP1Limits = HTTP1Limits(), step: Int = .max) -> DecodedBody {
    decode(Array(text.utf8), limits: limits, step: step)
}

func decode(
    _ bytes: [UInt8], limits: HTTP1Limits = HTTP1Limits(), step: Int = .max
) -> DecodedBody {
    var body = DecodedBody()
    var decoder = ChunkedDecoder(limits: limits)
    var start = 0
    do throws(HTTP1Error) {
        while start < bytes.count, !body.isEnded {
            let end = start + min(step, bytes.count - start)
            let piece = Array(bytes[start..<end])
            var offset = 0
            reading: while true {
                switch try decoder.next(piece.span, from: &offset) {
                case .data(let range): body.content += String(decoding: piece[range], as: UTF8.self)
                case .needsMore: break reading
                case .end:
                    body.isEnded = true
                    body.rest = bytes.count - start - offset
                    body.trailers = decoder.trailers.fields.map { line in
                        let name = decoder.trailers.bytes[line.name.range]
                        let value = decoder.trailers.bytes[line.value.range]
                        return String(decoding: name + [0x3D] + value, as: UTF8.self)
                    }
                    break reading
                }
            }
            start = end
        }
    } catch {
        body.fault = error
    }
    return body
}

extension Span where Element == UInt8 {
    var array: [UInt8] {
        var output: [UInt8] = []
        for index in 0..<count { output.append(self[index]) }
        return output
    }

    var text: String { String(decoding: array, as: UTF8.self) }
}
