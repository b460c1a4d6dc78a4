import Testing

@testable import Gateway

@Suite struct RequestTraceTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let span = "00f067aa0ba902b7"

    private func begin(_ fields: String) throws -> RequestTrace {
        let head = try requestHead(
            "GET / HTTP/1.1\nHost: h" + (fields.isEmpty ? "" : "\n" + fields))
        var ids = RequestIDSource(beginningWith: Array(1...64))
        var trace = RequestTrace()
        try trace.begin(head, ids: &ids)
        return trace
    }

    static let ids: [(fields: String, kept: String?)] = [
        ("X-Request-Id: a", "a"),
        ("x-request-id: A-Z_a.z-09", "A-Z_a.z-09"),
        ("X-Request-Id: " + String(repeating: "x", count: 128), String(repeating: "x", count: 128)),
        ("X-Request-Id: " + String(repeating: "x", count: 129), nil),
        ("X-Request-Id:", nil),
        ("X-Request-Id: a b", nil),
        ("X-Request-Id: a\"b", nil),
        ("X-Request-Id: a/b", nil),
        ("X-Request-Id: \u{E9}", nil),
        ("X-Request-Id: a\nX-Request-Id: b", nil),
        ("X_Request_Id: a", nil),
        ("", nil),
    ]

    @Test(arguments: ids)
    func aRequestIDIsKeptIfItIsOne(fields: String, kept: String?) throws {
        let trace = try begin(fields)
        #expect(
            String(decoding: trace.requestID, as: UTF8.self)
                == kept ?? "0102030405060708090a0b0c0d0e0f10")
    }

    static let malformed: [String] = [
        "", "00", "00-\(trace)-\(span)", "00-\(trace)-\(span)-1", "00-\(trace)-\(span)-011",
        "01-\(trace)-\(span)-01", "ff-\(trace)-\(span)-01", "00-\(trace.uppercased())-\(span)-01",
        "00-\(trace)-\(span)-0G", "00-00000000000000000000000000000000-\(span)-01",
        "00-\(trace)-0000000000000000-01", "00_\(trace)_\(span)_01", "00-\(trace)0\(span)-01",
        "00-\(trace)-\(span)-01-x",
    ]

    @Test(arguments: malformed)
    func aTraceThatIsMalformedIsBegunAnew(value: String) throws {
        let trace = try begin("traceparent: \(value)")
        let isContinued = trace.isContinued
        #expect(!isContinued)
        #expect(
            String(decoding: trace.traceparent, as: UTF8.self)
                == "00-1112131415161718191a1b1c1d1e1f20-2122232425262728-00")
    }

    @Test func aTraceIsContinuedWithASpanOfOurs() throws {
        for flags in ["00", "01"] {
            let trace = try begin("traceparent: 00-\(Self.trace)-\(Self.span)-\(flags)")
            let isContinued = trace.isContinued
            #expect(isContinued)
            #expect(
                String(decoding: trace.traceparent, as: UTF8.self)
                    == "00-\(Self.trace)-1112131415161718-\(flags)")
            #expect(
                String(decoding: trace.traceparent[RequestTrace.traceIDRange], as: UTF8.self)
                    == Self.trace)
        }
    }

    @Test func aTraceThatComesTwiceIsBegunAnew() throws {
        let line = "traceparent: 00-\(Self.trace)-\(Self.span)-01"
        #expect(try !begin(line + "\n" + line).isContinued)
    }

    @Test func tracestateGoesOnlyWithATraceThatIsContinued() throws {
        let good = "traceparent: 00-\(Self.trace)-\(Self.span)-01"
        let cases = [
            (good + "\ntracestate: a=1", ["a=1"]), ("tracestate: a=1", []),
            ("traceparent: 00\ntracestate: a=1", []),
        ]
        for (fields, expected) in cases {
            let written = try UpstreamRequestTests.forward("GET / HTTP/1.1\nHost: h\n" + fields)
            #expect(written.values("tracestate") == expected)
            #expect(written.values("traceparent").count == 1)
        }
        let removed = try UpstreamRequestTests.forward(
            "GET / HTTP/1.1\nHost: h\n\(good)\ntracestate: a=1"
        ) { $0.removeHeaders = ["traceparent"] }
        #expect(removed.values("tracestate") == [])
        #expect(removed.values("traceparent") == [])
    }

    @Test func nothingOfTheLastRequestStays() throws {
        var ids = RequestIDSource(beginningWith: Array(1...128))
        var trace = RequestTrace()
        let head = try requestHead(
            "GET / HTTP/1.1\nHost: h\nX-Request-Id: first\ntraceparent: 00-\(Self.trace)-\(Self.span)-01"
        )
        try trace.begin(head, ids: &ids)
        try trace.begin(ids: &ids)
        let isContinued = trace.isContinued
        #expect(!isContinued)
        #expect(trace.requestID.count == 32)
        #expect(trace.traceparent.count == 55)
    }

    @Test func idsAreTakenOnceAndNeverAllZero() throws {
        var ids = RequestIDSource(beginningWith: [0, 0, 7, 0])
        var text: [UInt8] = []
        try ids.appendHex(count: 2, to: &text)
        try ids.appendHex(count: 2, to: &text)
        #expect(String(decoding: text, as: UTF8.self) == "00010700")
    }

    @Test func aBatchThatIsUsedUpIsFollowedByAnother() throws {
        var ids = try RequestIDSource()
        var seen: Set<[UInt8]> = []
        for _ in 0..<1000 {
            var id: [UInt8] = []
            try ids.appendHex(count: 16, to: &id)
            #expect(id.count == 32)
            seen.insert(id)
        }
        #expect(seen.count == 1000)
    }
}
