import HTTP
import OAuth
import Primitives
import Telemetry

/// What a reply of our own needs to know of the request it answers.
public struct ReplyContext: Sendable {
    public var version: HTTPVersion
    /// Whether the request was HEAD: then the fields are sent and the body is not.
    public var isHead: Bool
    /// Whether the request is a gRPC call on HTTP/2: then a refusal is a gRPC status (trailers only).
    public var isGRPC = false
    /// Whether the connection ends after the reply.
    public var closes: Bool
    /// Shown to the client, so that it can ask for the reason.
    public var requestID: [UInt8]
    /// Now, as an IMF-fixdate (RFC 9110 section 5.6.7).
    public var date: [UInt8]

    public init(
        version: HTTPVersion, isHead: Bool, closes: Bool, requestID: [UInt8], date: [UInt8]
    ) {
        self.version = version
        self.isHead = isHead
        self.closes = closes
        self.requestID = requestID
        self.date = date
    }

    /// For a request of which not even the head could be read.
    public static func unread(
        _ version: HTTPVersion = .http11, requestID: [UInt8], date: [UInt8]
    ) -> ReplyContext {
        ReplyContext(
            version: version == .http2 ? .http2 : .http11, isHead: false, closes: true,
            requestID: requestID, date: date)
    }
}

/// Writes the answers that are the gateway's own, for HTTP/1 with the status line and the empty line, for HTTP/2 the
/// field lines and the content. One per worker; it keeps its buffer.
public struct ReplyWriter {
    private let bearerChallenge: [UInt8]
    private let dpopChallenge: [UInt8]
    private let oauth1Challenge: [UInt8]
    private var body: [UInt8] = []

    /// - Parameters:
    ///   - realm: of the challenges; quoted here.
    ///   - resourceMetadata: where clients can find out whose tokens are taken (RFC 9728 section 5.1).
    public init(realm: String, resourceMetadata: String? = nil) {
        let realm = Array(realm.utf8.filter { $0 >= 0x20 && $0 != 0x7F })
        func challenge(_ scheme: StaticString) -> [UInt8] {
            var line: [UInt8] = []
            line.append("WWW-Authenticate: ")
            line.append(scheme)
            line.append(" realm=")
            line.appendQuoted(realm.span)
            return line
        }
        var bearer = challenge("Bearer")
        if let resourceMetadata {
            bearer.append(", resource_metadata=")
            bearer.appendQuoted(resourceMetadata.utf8Span.span)
        }
        bearerChallenge = bearer
        // The same, and what a proof may be signed with (RFC 9449 section 7.1).
        var dpop: [UInt8] = []
        dpop.append("WWW-Authenticate: DPoP algs=\"")
        dpop.append(
            contentsOf: DPoPProof.Policy.algorithms.map(\.rawValue).joined(separator: " ").utf8)
        dpop.append("\", ")
        dpop.append(contentsOf: bearer.dropFirst("WWW-Authenticate: Bearer ".utf8.count))
        dpopChallenge = dpop
        oauth1Challenge = challenge("OAuth")
        body.reserveCapacity(512)
    }

    /// Appends the answer to a request that is refused: a problem document (RFC 9457), and the challenges.
    ///
    /// - Parameter accepted: the schemes that the route takes, each of which gets its challenge with a 401.
    /// - Returns: how many bytes of it are content.
    @discardableResult
    public mutating func append(
        _ refusal: Refusal, accepted: CredentialSet, _ context: ReplyContext,
        to output: inout [UInt8]
    ) -> Int {
        if context.isGRPC {
            GRPCStatus.append(refusal, accepted, self, context, to: &output)
            return 0
        }
        let facts = refusal.reason.facts
        body.removeAll(keepingCapacity: true)
        body.append("{\"type\":\"urn:gatehouse:reason:")
        body.append(contentsOf: refusal.publicReason.utf8)
        body.append("\",\"title\":\"")
        body.append(facts.title)
        body.append("\",\"status\":")
        JSONText.appendInteger(refusal.status, to: &body)
        body.append(",\"detail\":\"")
        body.append(facts.detail)
        body.append("\",\"request_id\":")
        JSONText.appendString(context.requestID.span, to: &body)
        body.append("}\n")

        Self.appendStatusLine(refusal.status, context.version, to: &output)
        appendChallenges(refusal, facts, accepted, to: &output)
        if !refusal.allow.isEmpty || refusal.status == 405 {
            output.append("Allow: ")
            output.append(contentsOf: refusal.allow)
            output.append("\r\n")
        }
        Self.appendWait(refusal, to: &output)
        // 404, 405, 410, 414 and 501 could be cached without being asked (RFC 9110 section 15.1), and then
        // be served to someone who may see what is there.
        output.append("Cache-Control: no-store\r\nContent-Type: application/problem+json\r\n")
        Self.appendEnd(context, bodyCount: body.count, to: &output)
        if context.isHead { return 0 }
        output.append(contentsOf: body)
        return body.count
    }

    /// Appends any other answer: of the token endpoint, a metadata document, a health check.
    ///
    /// - Parameters:
    ///   - contentType: empty for an answer without one.
    ///   - fields: further lines, complete with their line ends; none that this type writes itself.
    /// - Returns: how many bytes of it are content.
    @discardableResult
    public func append(
        status: Int, contentType: StaticString, body: [UInt8], fields: [UInt8] = [],
        _ context: ReplyContext, to output: inout [UInt8]
    ) -> Int {
        Self.appendStatusLine(status, context.version, to: &output)
        output.append(contentsOf: fields)
        if contentType.utf8CodeUnitCount > 0 {
            output.append("Content-Type: ")
            output.append(contentType)
            output.append("\r\n")
        }
        Self.appendEnd(context, bodyCount: status == 204 ? nil : body.count, to: &output)
        if context.isHead || status == 204 { return 0 }
        output.append(contentsOf: body)
        return body.count
    }

    /// When to come again, and which limit says so: the fields of draft-ietf-httpapi-ratelimit-headers-09, sections 3 and 4.
    static func appendWait(_ refusal: Refusal, to output: inout [UInt8]) {
        guard let seconds = refusal.retryAfterSeconds.map({ max(0, $0) }) else { return }
        output.append("Retry-After: ")
        JSONText.appendInteger(seconds, to: &output)
        output.append("\r\n")
        guard let rate = refusal.rate else { return }
        output.append("RateLimit-Policy: \"")
        output.append(contentsOf: rate.name.utf8)
        output.append("\";q=")
        JSONText.appendInteger(rate.quota, to: &output)
        output.append(";w=")
        JSONText.appendInteger(rate.windowSeconds, to: &output)
        output.append("\r\nRateLimit: \"")
        output.append(contentsOf: rate.name.utf8)
        output.append("\";r=0;t=")
        JSONText.appendInteger(seconds, to: &output)
        output.append("\r\n")
    }

    func appendChallenges(
        _ refusal: Refusal, _ facts: ReasonFacts, _ accepted: CredentialSet,
        to output: inout [UInt8]
    ) {
        let error = refusal.tokenError
        // A 401 must challenge (RFC 9110 section 15.5.2); with 400 and 403 the challenge only carries
        // its error (RFC 6750 section 3.1), which belongs to the scheme that was used.
        if accepted.contains(.bearer) {
            let isOfDPoP = refusal.tokenScheme == .dpop || accepted.contains(.dpop)
            if !accepted.contains(.dpop), refusal.status == 401 || (error != nil && !isOfDPoP) {
                output.append(contentsOf: bearerChallenge)
                if !isOfDPoP { appendError(error, refusal, facts, to: &output) }
                output.append("\r\n")
            }
            if isOfDPoP ? refusal.status == 401 || error != nil : refusal.asksForProof {
                output.append(contentsOf: dpopChallenge)
                if isOfDPoP { appendError(error, refusal, facts, to: &output) }
                output.append("\r\n")
            }
        }
        if accepted.contains(.oauth1), refusal.status == 401 {
            output.append(contentsOf: oauth1Challenge)
            output.append("\r\n")
        }
        Self.appendNonce(refusal.nonce, to: &output)
    }

    private func appendError(
        _ error: StaticString?, _ refusal: Refusal, _ facts: ReasonFacts,
        to output: inout [UInt8]
    ) {
        if let error {
            output.append(", error=\"")
            output.append(error)
            output.append("\", error_description=\"")
            output.append(facts.detail)
            output.append("\"")
        }
        if !refusal.neededScopes.isEmpty {
            output.append(", scope=")
            output.appendQuoted(refusal.neededScopes.span)
        }
    }

    /// The nonce that the next proof must have (RFC 9449 section 8.2), where there is one to tell.
    static func appendNonce(_ nonce: [UInt8], to output: inout [UInt8]) {
        guard !nonce.isEmpty else { return }
        output.append("DPoP-Nonce: ")
        output.append(contentsOf: nonce)
        output.append("\r\n")
    }

    /// The fields that every reply of ours ends with, and the empty line.
    static func appendEnd(
        _ context: ReplyContext, bodyCount: Int?, to output: inout [UInt8]
    ) {
        appendDate(context.date, to: &output)
        if let bodyCount { appendFraming(.length(bodyCount), to: &output) }
        output.append("X-Request-Id: ")
        output.append(contentsOf: context.requestID)
        output.append("\r\n")
        appendHeadEnd(.none, context.version, closes: context.closes, to: &output)
    }

    /// HTTP/2 has no status line: the stream tells the status.
    private static func appendStatusLine(
        _ status: Int, _ version: HTTPVersion, to output: inout [UInt8]
    ) {
        if version != .http2 { HTTP1Writer.appendStatusLine(status, to: &output) }
    }
}
