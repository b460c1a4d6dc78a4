import Configuration
import Cryptography
import OAuth
import Primitives
import Store
import Telemetry
import Transport

/// The gateway's own decision on one request, step by step, without forwarding it: what `gatehouse explain` prints.
///
/// It asks the same functions as a running worker, in the same order. It claims no nonce, since those live in the
/// running gateway, and it never shows a secret or a signature, right or wrong. It is for the operator's eyes: claims
/// and parameters of the request stand in it.
public struct RequestExplanation: Sendable {
    /// What one phase found.
    public struct Step: Sendable, Equatable {
        public let phase: Phase
        /// Printable: controls that a request carries are escaped.
        public internal(set) var lines: [String]
    }

    public let steps: [Step]
    /// The exact reason, as in the log; `nil`: the request is forwarded, or answered by the gateway itself.
    public let reason: Reason?
    /// What the reply calls the reason, which may say less.
    public let publicReason: String?
    /// What the client gets from the gateway; `nil` where an upstream or an endpoint answers.
    public let status: Int?
    /// Why only the running gateway can say what becomes of the request: it would ask somebody. `reason` is `nil` then.
    public let undecided: String?

    /// Decides on a raw HTTP/1.1 request.
    ///
    /// - Parameters:
    ///   - bytes: head and body, with CR LF line ends in the head.
    ///   - facts: what the store knows.
    ///   - listener: where the request comes in; the first by default.
    ///   - address: the client's; `nil` is not known, which no `allow` line permits.
    ///   - certificate: the client's, as PEM; its chain is not judged.
    ///   - now: the moment that timestamps and tokens are judged by.
    /// - Throws: when a file that the conf names cannot be read, or there is no such listener.
    public init(
        of bytes: [UInt8], configuration: Configuration, facts: StoreFacts,
        listener name: String? = nil, from address: IPAddress? = nil,
        certificate pem: [UInt8]? = nil, at now: WallTime
    ) throws(StartError) {
        let listeners = configuration.listeners
        guard let listener = listeners.first(where: { name == nil || $0.name == name }) else {
            let known = listeners.map(\.name).joined(separator: ", ")
            throw StartError(
                .configuration, "no listener \(name ?? "") in the conf; it has \(known)")
        }
        // For the names in the certificates. Who explains may not read the keys beside them: then Host is believed.
        let tls = try? TLSMaterial(configuration, ticketKeys: TLSTicketKeys())
        let snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration), state: facts.state,
            tls: tls ?? .none, listeners: [])
        let oauth1: OAuth1Verifier
        do throws(CryptographyError) {
            oauth1 = try OAuth1Verifier(policy: snapshot.oauth1)
        } catch {
            throw StartError(.software, "OpenSSL: \(error)")
        }
        let certificate = pem.flatMap {
            PeerCertificate(pem: $0, isVerified: listener.tls?.clientCA != nil)
        }
        if pem != nil, certificate == nil { throw StartError(.usage, "no certificate (PEM) in it") }
        var explainer = Explainer(
            snapshot: snapshot, facts: facts, listener: listener, oauth1: oauth1, address: address,
            certificate: certificate, now: now)
        do throws(ExplainedRefusal) {
            try explainer.decide(bytes)
            reason = nil
            publicReason = nil
            status = nil
            undecided = nil
        } catch {
            undecided = error.undecided
            let refusal = error.undecided == nil ? error.refusal : nil
            reason = refusal?.reason
            publicReason = refusal?.publicReason
            status = refusal?.status
        }
        steps = explainer.steps
    }
}

/// Ends an explanation: the refusal that the gateway would answer with.
struct ExplainedRefusal: Error {
    let refusal: Refusal
    /// Set: what the answer would be is not known here.
    var undecided: String?

    init(undecided: String) {
        refusal = Refusal(.issuerUnavailable)
        self.undecided = undecided
    }

    init(_ refusal: Refusal) {
        self.refusal = refusal
    }

    init(_ reason: Reason, status: Int? = nil) {
        refusal = Refusal(reason, status: status)
    }
}
