import OAuth
import Primitives
import Store
import Telemetry

/// What comes of a request and a certificate that a route wants together.
enum JoinedCredentials {
    case principal(Principal)
    case refused(Reason)
}

extension GatewaySnapshot {
    /// What may have signed: the consumer's secrets, with that of its token where it names one. A token that is not known,
    /// or is another's, has none, and no signature holds then.
    func credentials(for claim: OAuth1Claim, _ token: StoredToken?) -> OAuth1Credentials? {
        guard let known = clients[claim.consumerKey], var credentials = known.oauth1 else {
            return nil
        }
        if let token, token.clientID.hasBytes(of: known.registered.id) {
            credentials.tokenSecret = token.secret
        }
        return credentials
    }

    /// The client whose name stands in the certificate; two whom it could mean are nobody.
    func principal(of certificate: ClientCertificate) -> Principal? {
        let named = certificateClients.filter { $0.certificate?.holds(for: certificate) == true }
        guard let client = named.first, named.count == 1 else { return nil }
        return .certificate(
            clientID: client.id, scopes: scopes(of: client), audiences: audiences(of: client))
    }

    /// What the request has proven, together with the certificate on its connection.
    func join(
        _ principal: Principal, with certificate: ClientCertificate
    ) -> JoinedCredentials {
        guard let named = self.principal(of: certificate) else { return .refused(.unknownClient) }
        guard let joined = principal.withCertificate(ofClient: named.clientID) else {
            return .refused(.clientNotAllowed)
        }
        return .principal(joined)
    }

    /// What a client has that shows no token: as much as a token of ours would grant it.
    private func scopes(of client: RegisteredClient) -> [String] {
        authority?.policy.scopes(of: client) ?? client.scopes
    }

    private func audiences(of client: RegisteredClient) -> [String] {
        authority?.policy.audiences(of: client) ?? client.audiences
    }

    /// To the client both read the same; the log tells which of consumer and token is not known.
    func exact(_ error: OAuth1Error, of claim: OAuth1Claim) -> OAuth1Error {
        error == .unknownConsumer && clients[claim.consumerKey]?.oauth1 != nil
            ? .unknownToken : error
    }
}
