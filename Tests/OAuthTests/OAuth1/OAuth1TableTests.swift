import HTTP
import OAuth
import Primitives
import Testing

/// The tables of oauth1.json that belong to single functions.
struct OAuth1TableTests {
    @Test func everythingButUnreservedIsEncoded() throws {
        let cases = try OAuth1Vectors.table("percent_encoding")
        #expect(cases.count == 24)
        for item in cases {
            let input = Array(try #require(item["input"] as? String).utf8)
            var output: [UInt8] = []
            PercentCoding.encode(input.span, into: &output)
            #expect(String(decoding: output, as: UTF8.self) == item["encoded"] as? String)
            var decoded: [UInt8] = []
            #expect(
                PercentCoding.decode(output.span, output.indices, plus: .isPlus, into: &decoded))
            #expect(decoded == input)
        }
    }

    @Test(arguments: ["%", "%4", "%zz", "a%2", "%%41", "%+1", "%4\u{0}"])
    func anIncompleteEscapeIsRefused(text: String) {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        #expect(!PercentCoding.decode(bytes.span, bytes.indices, plus: .isSpace, into: &output))
    }

    @Test func parametersAreSortedAfterEncoding() throws {
        let cases = try OAuth1Vectors.table("parameter_normalization")
        #expect(cases.count == 11)
        for item in cases {
            var parameters = OAuth1Parameters()
            for pair in try OAuth1Vectors.pairs(item["parameters"]) {
                parameters.add(name: pair.name, value: pair.value, .query)
            }
            var baseString = BaseString()
            baseString.normalize(parameters, order: .encoded)
            let normalized = String(decoding: baseString.normalized, as: UTF8.self)
            #expect(normalized == item["normalized"] as? String, "\(item["id"] ?? "")")
        }
    }

    @Test func signaturesAreThoseOfTheCommunity() throws {
        let cases = try OAuth1Vectors.table("signature_functions")
        #expect(cases.count == 8)
        for item in cases {
            let method = try #require(
                OAuth1SignatureMethod(rawValue: item["method"] as? String ?? ""))
            let base = Array(try #require(item["base_string"] as? String).utf8)
            let credentials = OAuth1Credentials(
                consumerSecret: Secret(utf8: item["consumer_secret"] as? String ?? ""),
                tokenSecret: Secret(utf8: item["token_secret"] as? String ?? ""))
            let signature = try OAuth1Signature.make(
                method, baseString: base, credentials: credentials)
            #expect(String(decoding: signature, as: UTF8.self) == item["signature"] as? String)
        }
    }

    /// Two lines of the table are well-formed lists whose fault is a repeated parameter, which is
    /// found when the claim is read; two good ones claim nothing whole. So the list alone is read
    /// for "ok", and the claim for "error".
    @Test func authorizationFieldsAreReadStrictly() throws {
        let cases = try OAuth1Vectors.table("authorization_header")
        #expect(cases.count == 15)
        let verifier = try OAuth1Verifier.permissive()
        for item in cases {
            let field = try #require(item["authorization"] as? String)
            if item["expect"] as? String == "ok" {
                let expected = try OAuth1Vectors.pairs(item["parameters"]).map { [$0, $1] }
                let bytes = Array(field.utf8)
                var parameters = OAuth1Parameters()
                try parameters.addHeader(bytes.span, bytes.indices)
                #expect(parameters.pairs == expected, "\(field)")
            } else {
                let request = try OAuth1Request([
                    "method": "GET", "url": "https://api.example.com/",
                    "headers": [["Authorization", field]],
                ])
                let error = #expect(throws: OAuth1Error.self, "\(field)") {
                    try verifier.prepare(request.head, body: nil)
                }
                #expect(error?.status == 400)
            }
        }
    }

    /// The RFC's own examples of form and query, whose signatures are placeholders.
    @Test func examplesOfTheRFCAreRead() throws {
        let cases = try OAuth1Vectors.table("parse_only")
        #expect(cases.count == 2)
        for item in cases {
            let text =
                item["body"] as? String
                ?? (item["target"] as? String).flatMap { $0.split(separator: "?").last }
                .map(String.init)
            let bytes = Array(try #require(text).utf8)
            var parameters = OAuth1Parameters()
            try parameters.addPairs(bytes.span, bytes.indices, .form)
            #expect(
                parameters.pairs == (try OAuth1Vectors.pairs(item["parameters"]).map { [$0, $1] }))
        }
    }
}
