/// What clients and deployments get wrong about a signature (RFC 5849 section 3.4), as seen in the
/// field. None is a reason to accept a request.
public enum OAuth1Mistake: String, Sendable, CaseIterable {
    // The normalised parameters.
    case sortJoined = "sort-joined"
    case sortDecoded = "sort-decoded"
    case noSort = "no-sort"
    case namesNotEncoded = "names-not-encoded"
    case queryNamesEncodedTwice = "query-names-encoded-twice"
    case queryValuesEncodedTwice = "query-values-encoded-twice"
    case valuesNotEncoded = "values-not-encoded"
    case queryLeftOut = "query-left-out"
    case queryLeftOutWithForm = "query-left-out-with-form"
    case formLeftOut = "form-left-out"
    case jsonSigned = "json-signed"
    case equalPairsOnce = "equal-pairs-once"
    case lastValueOnly = "last-value-only"
    case firstValueOnly = "first-value-only"
    case utf8AsLatin1 = "utf8-as-latin1"
    case latin1 = "latin1"
    case plusForSpace = "plus-for-space"
    case plusTakenLiterally = "plus-taken-literally"
    case tildeEncoded = "tilde-encoded"
    case starNotEncoded = "star-not-encoded"
    case encodeURIComponent = "encodeuricomponent"
    case lowerHex = "lower-hex"
    case emptyDropped = "empty-dropped"
    case realmSigned = "realm-signed"
    case versionNotSigned = "version-not-signed"
    case paramsEncodedOnce = "params-encoded-once"
    // The base string URI.
    case pathDecoded = "path-decoded"
    case pathEncodedTwice = "path-encoded-twice"
    case portKept = "port-kept"
    case portDropped = "port-dropped"
    case schemeHTTP = "scheme-http"
    case schemeHTTPS = "scheme-https"
    case otherHost = "other-host"
    case pathPrefix = "path-prefix"
    case pathPrefixAdded = "path-prefix-added"
    case hostCase = "host-case"
    case slashMissing = "slash-missing"
    case trailingSlashDropped = "trailing-slash-dropped"
    case trailingSlashAdded = "trailing-slash-added"
    case queryInURI = "query-in-uri"
    // The method.
    case methodLower = "method-lower"
    case otherMethod = "other-method"
    // The key, the hash and the value.
    case secretsNotEncoded = "secrets-not-encoded"
    case tokenSecretMissing = "token-secret-missing"
    case noAmpersand = "no-ampersand"
    case tokenSecretFirst = "consumer-secret-only-wrong-order"
    case secretNewline = "secret-newline"
    case otherHash = "sha256-name-sha1-used"
    case signatureNotEncoded = "signature-not-encoded"
    case signatureOtherBase64 = "signature-other-base64"
    case signatureHexadecimal = "signature-hexadecimal"

    /// What the client does, as the end of "the client …".
    public var explanation: String {
        switch self {
        case .sortJoined: "sorts the joined \"name=value\" strings instead of names, then values"
        case .sortDecoded: "sorts parameters before percent-encoding them"
        case .noSort: "does not sort the parameters"
        case .namesNotEncoded: "does not percent-encode parameter names"
        case .queryNamesEncodedTwice:
            "takes query names from the URL undecoded and encodes them again"
        case .queryValuesEncodedTwice:
            "takes query values from the URL undecoded and encodes them again"
        case .valuesNotEncoded: "joins raw values and encodes them once instead of twice"
        case .queryLeftOut: "leaves the query out of the base string"
        case .queryLeftOutWithForm: "leaves the query out when there is a form body"
        case .formLeftOut: "leaves the form body out of the base string"
        case .jsonSigned: "puts a body that is no form into the base string as a parameter name"
        case .equalPairsOnce: "signs an equal name and value once although it is sent repeatedly"
        case .lastValueOnly: "keeps the last value alone of a repeated name"
        case .firstValueOnly: "keeps the first value alone of a repeated name"
        case .utf8AsLatin1: "encodes the octets of UTF-8 as if they were Latin-1 characters"
        case .latin1: "encodes text as Latin-1 instead of UTF-8"
        case .plusForSpace: "writes \"+\" instead of \"%20\" for a space"
        case .plusTakenLiterally: "does not read \"+\" in the query or form as a space"
        case .tildeEncoded: "encodes \"~\", which is unreserved"
        case .starNotEncoded: "leaves \"*\" as it is"
        case .encodeURIComponent: "leaves !'()* as they are, as encodeURIComponent does"
        case .lowerHex: "writes percent-encoding with lower-case hexadecimal digits"
        case .emptyDropped: "drops parameters with an empty value"
        case .realmSigned: "puts realm into the base string"
        case .versionNotSigned: "sends oauth_version but does not sign it"
        case .paramsEncodedOnce: "does not encode the normalised parameters a second time"
        case .pathDecoded: "signs the decoded path"
        case .pathEncodedTwice: "encodes the already encoded path once more"
        case .portKept: "keeps the default port in the base string URI"
        case .portDropped: "drops a port that is not the default one"
        case .schemeHTTP: "signs http where the gateway sees https"
        case .schemeHTTPS: "signs https where the gateway sees http: TLS ends before the gateway"
        case .otherHost: "signs another host name than the one in the Host field"
        case .pathPrefix: "signs a path with a prefix that a proxy in front took away"
        case .pathPrefixAdded: "signs the path without a prefix that a proxy in front added"
        case .hostCase: "does not lower-case the host"
        case .slashMissing: "leaves out the \"/\" of an empty path"
        case .trailingSlashDropped: "drops the last \"/\" of the path"
        case .trailingSlashAdded: "adds a \"/\" at the end of the path"
        case .queryInURI: "leaves the query in the base string URI as well"
        case .methodLower: "does not upper-case the HTTP method"
        case .otherMethod: "signs another HTTP method than the one it sends"
        case .secretsNotEncoded: "joins the secrets without percent-encoding them"
        case .tokenSecretMissing: "leaves the token secret out of the key"
        case .noAmpersand: "leaves the \"&\" of the key out when there is no token secret"
        case .tokenSecretFirst: "puts the token secret first"
        case .secretNewline: "signs with a line end or a space stuck to a secret"
        case .otherHash: "names one hash in oauth_signature_method and uses another"
        case .signatureNotEncoded: "does not percent-encode \"+\" in oauth_signature"
        case .signatureOtherBase64: "sends the signature in URL-safe or unpadded base64"
        case .signatureHexadecimal: "sends the signature in hexadecimal instead of base64"
        }
    }

    /// What to change, on the side where it can be changed; `nil` where only the client can.
    public var hint: String? {
        switch self {
        case .schemeHTTP, .schemeHTTPS, .otherHost, .portKept, .portDropped, .pathPrefix:
            "name the address that clients use with public_url in the oauth1 block"
        case .pathPrefixAdded:
            "let the proxy in front pass the path on as the client sent it"
        case .secretNewline:
            "compare the secret that the client holds with the one that was issued, byte by byte"
        case .queryLeftOut, .queryLeftOutWithForm, .formLeftOut:
            "see also whether something between client and gateway adds parameters"
        default:
            nil
        }
    }
}
