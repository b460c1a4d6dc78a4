import Configuration
import Cryptography
import OAuth
import Primitives
import Store
import Telemetry
import Transport

/// A token that `gatehouse token issue` makes, by the token endpoint's own rules.
public struct CommandLineToken {
    public let token: String
    /// The endpoint's answer as JSON.
    public let reply: String
    /// What must be put into the store for it to mean anything; `nil`: it says all itself.
    public let record: StoredToken?

    /// - Parameters:
    ///   - certificate: PEM; for a client of `tls_client_auth`, whose tokens are good with it alone, and for no other. Its
    ///     name is not judged: the gateway does that when the token is used.
    ///   - thumbprint: of a key of the client's (RFC 7638), in base64url: the token is good with a DPoP proof of it alone.
    /// - Throws: for an unknown client, a scope that is not the client's, or a store without a key.
    public init(
        client id: String, scopes: [String], certificate pem: [UInt8]? = nil,
        keyThumbprint thumbprint: String? = nil,
        configuration: Configuration, state: StoreSnapshot
    ) throws(StartError) {
        let known = KnownState(configuration, try Material(configuration), state)
        guard let authority = known.authority else {
            throw StartError(.configuration, "the conf has no authority block")
        }
        guard let client = known.clients[id]?.registered else {
            throw StartError(.unavailable, "no client \(id)")
        }
        let certificate = pem.flatMap { PeerCertificate(pem: $0, isVerified: false) }
            .map(ClientCertificate.init)
        if pem != nil, certificate == nil { throw StartError(.usage, "no certificate (PEM) in it") }
        let key = thumbprint.flatMap { Base64.decode($0, .url) }
        guard thumbprint == nil || key?.count == 32 else {
            throw StartError(
                .usage, "no thumbprint of a key: expected the SHA-256 of RFC 7638 in base64url")
        }
        guard (client.authMethod == .tls) == (certificate != nil) else {
            let problem =
                client.authMethod == .tls
                ? "tokens of \(id) are bound to its certificate: name it with --certificate"
                : "tokens of \(id) are bound to no certificate"
            throw StartError(.usage, problem)
        }
        guard key != nil || !client.requiresProof else {
            throw StartError(
                .usage, "tokens of \(id) are bound to a key: name its thumbprint with --jkt")
        }
        do {
            let grant = try TokenEndpoint.grant(
                TokenRequest(scopes: scopes), to: client, under: authority.policy,
                now: WallTime.now(),
                tokenID: Base64.encode(try RandomBytes.make(count: 16), .url),
                certificate: certificate, keyThumbprint: key)
            let bytes: [UInt8]
            switch authority.configuration.tokenFormat {
            case .jwt:
                guard let key = authority.signingKey(at: .now()) else {
                    throw StartError(
                        .configuration,
                        "there is no signing key yet: start the gateway once or run `gatehouse key rotate`"
                    )
                }
                bytes = try JWTSigner.sign(claims: grant.claims, with: key)
                record = nil
            case .opaque:
                bytes = Array(try OpaqueTokens.of(configuration).make(.access).utf8)
                record = StoredToken(grant, text: bytes)
            }
            token = String(decoding: bytes, as: UTF8.self)
            reply = String(decoding: grant.reply(token: bytes), as: UTF8.self)
        } catch let error as StartError {
            throw error
        } catch let error as TokenRequestError {
            throw StartError(.unavailable, "\(error.code): \(error.text)")
        } catch {
            throw StartError(.software, "\(error)")
        }
    }
}

/// What `gatehouse token inspect` tells of a token.
public struct TokenInspection {
    /// The JSON texts as they were signed; `nil` where they could not be read.
    public let header: [UInt8]?
    public let claims: [UInt8]?
    public let lines: [String]
    /// `nil`: it holds, unless it is undecided.
    public let reason: String?
    /// Why only the running gateway can say.
    public let undecided: String?

    public init(
        of token: [UInt8], configuration: Configuration, facts: StoreFacts, at now: WallTime
    ) throws(StartError) {
        let snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration),
            state: facts.state, tls: .none, listeners: [])
        for kind in OpaqueTokens.Kind.allCases
        where snapshot.authority != nil && OpaqueTokens.isLike(kind, token.span) {
            self.init(opaque: token, kind, snapshot, facts, at: now)
            return
        }
        self.init(signed: token, snapshot, facts, at: now)
    }

    /// One that says itself what it grants.
    private init(
        signed token: [UInt8], _ snapshot: GatewaySnapshot, _ facts: StoreFacts, at now: WallTime
    ) {
        let verifier = TokenVerifier(issuers: snapshot.issuers)
        let explanation = verifier.explain(token.span, now: now)
        header = explanation.header
        claims = explanation.claims
        var undecided: String?
        var reason: Reason?
        var revocation: [String] = []
        switch explanation.verdict {
        case .success(let token):
            revocation = TokenReport.revocation(facts.revocations.covers(token), facts)
            if facts.revocations.covers(token) {
                reason = .tokenRevoked
            } else if snapshot.hasLostClient(of: token) {
                reason = .unknownClient
                revocation.append(TokenReport.lostClient)
            }
        case .failure(let error):
            undecided = snapshot.undecided(after: error, by: verifier)
            reason = undecided == nil ? error.reason : nil
        }
        self.undecided = undecided
        self.reason = reason?.rawValue
        let report = TokenReport.lines(explanation, undecided: undecided) + revocation
        lines = report.map(PrintableText.escaped)
    }

    /// One that says nothing by itself: the store's word.
    private init(
        opaque text: [UInt8], _ kind: OpaqueTokens.Kind, _ snapshot: GatewaySnapshot,
        _ facts: StoreFacts, at now: WallTime
    ) {
        (header, claims) = (nil, nil)
        switch facts.find(kind, text.span, snapshot.configuration, at: now) {
        case .token(let token):
            let isRevoked = facts.revocations.covers(token)
            let isLost = snapshot.isStateKnown && snapshot.clients[token.clientID] == nil
            undecided = nil
            reason =
                isRevoked
                ? Reason.tokenRevoked.rawValue : isLost ? Reason.unknownClient.rawValue : nil
            let report =
                TokenReport.lines(opaque: token, now: now)
                + TokenReport.revocation(isRevoked, facts)
                + (isLost ? [TokenReport.lostClient] : [])
            lines = report.map(PrintableText.escaped)
        case .none:
            undecided = nil
            reason = Reason.unknownToken.rawValue
            lines = [TokenReport.unknownOpaque]
        case .undecided(let why):
            undecided = why
            reason = nil
            lines = ["undecided: \(why)"]
        }
    }
}

extension OpaqueTokens {
    /// The tokens of the conf's store.
    static func of(_ configuration: Configuration) throws(StartError) -> OpaqueTokens {
        do throws(StoreError) {
            let key = try OpenedState.secretsKey(configuration)
            return OpaqueTokens(key: try key.derived(for: "opaque tokens"))
        } catch {
            throw StartError(error)
        }
    }
}

/// The public halves of the store's keys, as a JWK set.
public enum PublishedKeys {
    public static func document(_ keys: [SigningKeyRecord]) throws -> [UInt8] {
        JWKSDocument.write(try keys.map { try SigningKey($0).published })
    }
}
