import HTTP
import Primitives

/// How a gRPC client is refused: a response of trailers alone, with status 200 and the reason as a gRPC status (gRPC over
/// HTTP/2, "Responses"; the codes by "HTTP to gRPC Status Code Mapping").
enum GRPCStatus: Int {
    case unknown = 2
    case permissionDenied = 7
    case resourceExhausted = 8
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case unauthenticated = 16

    init(httpStatus: Int) {
        switch httpStatus {
        case 401: self = .unauthenticated
        case 403: self = .permissionDenied
        case 404, 405, 501: self = .unimplemented
        case 413, 429, 431: self = .resourceExhausted
        case 408, 502, 503, 504: self = .unavailable
        case 400, 414, 417, 500: self = .internal
        default: self = .unknown
        }
    }

    /// Appends the field lines of the refusal.
    static func append(
        _ refusal: Refusal, _ accepted: CredentialSet, _ writer: ReplyWriter,
        _ context: ReplyContext, to output: inout [UInt8]
    ) {
        let facts = refusal.reason.facts
        output.append("Content-Type: application/grpc\r\ngrpc-status: ")
        JSONText.appendInteger(GRPCStatus(httpStatus: refusal.status).rawValue, to: &output)
        // The texts are ours: printable ASCII without a percent sign, as the field wants them.
        output.append("\r\ngrpc-message: ")
        output.append(contentsOf: refusal.publicReason.utf8)
        output.append(": ")
        output.append(facts.detail)
        output.append("\r\n")
        ReplyWriter.appendWait(refusal, to: &output)
        writer.appendChallenges(refusal, facts, accepted, to: &output)
        ReplyWriter.appendEnd(context, bodyCount: nil, to: &output)
    }
}
