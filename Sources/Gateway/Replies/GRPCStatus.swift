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
        let (status, message) = fields(of: refusal)
        output.append("Content-Type: application/grpc\r\ngrpc-status: ")
        output.append(contentsOf: status)
        output.append("\r\ngrpc-message: ")
        output.append(contentsOf: message)
        output.append("\r\n")
        ReplyWriter.appendWait(refusal, to: &output)
        writer.appendChallenges(refusal, refusal.reason.facts, accepted, to: &output)
        ReplyWriter.appendEnd(context, bodyCount: nil, to: &output)
    }

    /// What ends a call that is being answered.
    static func trailers(of refusal: Refusal) -> Trailers {
        let (status, message) = fields(of: refusal)
        var trailers = Trailers()
        trailers.append("grpc-status", status)
        trailers.append("grpc-message", message)
        return trailers
    }

    private static func fields(of refusal: Refusal) -> (status: [UInt8], message: [UInt8]) {
        var status: [UInt8] = []
        JSONText.appendInteger(GRPCStatus(httpStatus: refusal.status).rawValue, to: &status)
        // The texts are ours: printable ASCII without a percent sign, as the field wants them.
        var message = Array(refusal.publicReason.utf8)
        message.append(": ")
        message.append(refusal.reason.facts.detail)
        return (status, message)
    }
}
