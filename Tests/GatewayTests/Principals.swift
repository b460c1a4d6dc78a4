import OAuth

@testable import Gateway

/// Principals for the tables of this target.
enum Principals {
    static func oauth1(
        _ client: String = "partner", scopes: [String] = [], audiences: [String] = []
    ) -> Principal {
        Principal.oauth1(clientID: client, scopes: scopes, audiences: audiences)
    }

    static func bearer(
        _ client: String = "client-1", subject: String = "subject-1",
        issuer: String = "https://issuer.example.com", scopes: [String] = [],
        audiences: [String] = [], claims: [String: ClaimValue] = [:]
    ) throws -> Principal {
        .bearer(
            try token(
                client, subject: subject, issuer: issuer, scopes: scopes, audiences: audiences,
                claims: claims))
    }

    static func token(
        _ client: String = "client-1", subject: String = "subject-1",
        issuer: String = "https://issuer.example.com", scopes: [String] = [],
        audiences: [String] = [], claims: [String: ClaimValue] = [:]
    ) throws -> VerifiedToken {
        VerifiedToken(
            issuer: issuer, clientID: client, subject: subject, scopes: scopes,
            audiences: audiences, claims: claims)
    }
}
