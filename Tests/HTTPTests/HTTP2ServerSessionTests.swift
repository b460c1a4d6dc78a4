import Primitives
import TestSupport
import Testing

@testable import HTTP

/// The server's session in memory: frames in, events and frames out.
struct HTTP2ServerSessionTests {
    private final class Recorder: HTTP2ServerDelegate {
        var events: [String] = []
        var streams: [Int32: Stream] = [:]

        func beginStream(id: Int32) -> (HTTP2ServerStream, RequestHead) {
            let stream = Stream(id: id, recorder: self)
            streams[id] = stream
            return (stream, stream.head)
        }

        func streamHasClosed() {}
    }

    private final class Stream: HTTP2ServerStream {
        let head = RequestHead()
        private let recorder: Recorder

        init(id: Int32, recorder: Recorder) {
            self.recorder = recorder
            super.init(id: id)
        }

        private func note(_ event: String) {
            recorder.events.append("\(id) \(event)")
        }

        override func headComplete(endsStream: Bool) {
            let fields = head.fields.map { line in
                text(head.bytes[line.name.range]) + "=" + text(head.bytes[line.value.range])
            }
            note(
                "\(text(head.bytes[head.methodRange.range])) "
                    + "\(text(head.bytes[head.authority.range]))"
                    + "\(text(head.bytes[head.target.range])) \(fields) \(head.framing)")
        }

        override func headRefused(_ error: HTTP1Error) {
            note("refused \(error)")
        }

        override func dataReceived(_ input: Span<UInt8>) {
            var bytes: [UInt8] = []
            for index in 0..<input.count { bytes.append(input[index]) }
            note("data \(text(bytes[...]))")
        }

        override func requestEnded(_ trailers: Trailers) {
            let lines = trailers.fields.map { line in
                " " + text(trailers.bytes[line.name.range]) + "="
                    + text(trailers.bytes[line.value.range])
            }
            note("end" + lines.joined())
        }

        override func closed(code: UInt32) {
            note("closed \(code)")
        }

        private func text(_ bytes: ArraySlice<UInt8>) -> String {
            String(decoding: bytes, as: UTF8.self)
        }
    }

    private struct Frame {
        static func make(
            _ kind: UInt8, _ flags: UInt8 = 0, _ stream: UInt32 = 0, _ payload: [UInt8] = []
        ) -> [UInt8] {
            let size = UInt32(payload.count)
            var bytes = [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255), kind, flags]
            for shift: UInt32 in [24, 16, 8, 0] { bytes.append(UInt8(stream >> shift & 255)) }
            return bytes + payload
        }

        /// Literals without indexing.
        static func block(_ fields: [(String, String)]) -> [UInt8] {
            var block: [UInt8] = []
            for (name, value) in fields {
                block += [0, UInt8(name.utf8.count)]
                block += Array(name.utf8)
                block.append(UInt8(value.utf8.count))
                block += Array(value.utf8)
            }
            return block
        }
    }

    private static let opening = HTTP2ServerSession.preface + Frame.make(4)
    private static let get = [
        (":method", "GET"), (":scheme", "http"), (":path", "/p?q"), (":authority", "h"),
    ]

    private func session(
        _ settings: HTTP2Settings = HTTP2Settings()
    ) throws -> (HTTP2ServerSession, Recorder) {
        let session = try HTTP2ServerSession(settings: settings)
        let recorder = Recorder()
        session.delegate = recorder
        return (session, recorder)
    }

    private func output(_ session: HTTP2ServerSession) -> [UInt8] {
        var bytes: [UInt8] = []
        session.appendOutput(to: &bytes, upTo: 1 << 20)
        return bytes
    }

    /// Types and flags of the frames, with the last four bytes of each GOAWAY and RST_STREAM: its code.
    private func kinds(_ bytes: [UInt8]) -> [String] {
        var kinds: [String] = []
        var index = 0
        while index + 9 <= bytes.count {
            let size = Int(bytes[index]) << 16 | Int(bytes[index + 1]) << 8 | Int(bytes[index + 2])
            let payload = bytes[(index + 9)..<(index + 9 + size)]
            switch bytes[index + 3] {
            case 3: kinds.append("RST_STREAM \(payload.last ?? 255)")
            case 7: kinds.append("GOAWAY \(payload.dropFirst(7).first ?? 255)")
            default: kinds.append("\(bytes[index + 3])")
            }
            index += 9 + size
        }
        return kinds
    }

    @Test func aRequestInAnyPieces() throws {
        let list = [
            (":method", "POST"), (":scheme", "http"), (":path", "/p?q"), (":authority", "h"),
            ("x-a", "1"), ("cookie", "a"), ("cookie", "b"),
        ]
        let fields = Frame.block(list)
        let bytes =
            Self.opening + Frame.make(1, 0, 1, Array(fields[..<20]))
            + Frame.make(9, 0, 1, Array(fields[20..<30]))
            + Frame.make(9, 4, 1, Array(fields[30...])) + Frame.make(0, 0, 1, Array("abc".utf8))
            + Frame.make(1, 5, 1, Frame.block([("x-sum", "1")]))
        let expected = [
            "1 POST h/p?q [\"x-a=1\", \"cookie=a; b\"] chunked", "1 data abc", "1 end x-sum=1",
        ]
        for size in 1...bytes.count {
            let (session, recorder) = try session()
            var start = 0
            while start < bytes.count {
                let piece = Array(bytes[start..<min(start + size, bytes.count)])
                try session.receive(piece.span)
                start += size
            }
            let events = recorder.events.filter { !$0.hasPrefix("1 data") }
            let data = recorder.events.filter { $0.hasPrefix("1 data") }
            #expect(events == [expected[0], expected[2]], "pieces of \(size)")
            #expect(data.map { $0.dropFirst(7) }.joined() == "abc", "pieces of \(size)")
            #expect(!kinds(output(session)).contains { $0.hasPrefix("GOAWAY") })
        }
    }

    @Test func anAnswerWithContentAndTrailers() throws {
        let (session, recorder) = try session()
        let bytes = Self.opening + Frame.make(1, 5, 1, Frame.block(Self.get))
        try session.receive(bytes.span)
        #expect(recorder.events == ["1 GET h/p?q [] none"])
        _ = output(session)
        let stream = try #require(recorder.streams[1])
        let (lines, content) = (Array("Server: x\r\nX-B: y\r\n".utf8), Array("ok".utf8))
        session.respond(stream, status: 200, fieldLines: lines.span, endsStream: false)
        #expect(kinds(output(session)) == ["1"])
        session.sendData(stream, content.span)
        #expect(stream.queuedBytes == 2)
        session.finish(stream, trailerLines: Array("X-T: z\r\n".utf8).span)
        #expect(kinds(output(session)) == ["0", "1"])
        #expect(stream.queuedBytes == 0)
        #expect(recorder.events.last == "1 closed 0")
    }

    @Test func contentWaitsForTheWindow() throws {
        let (session, recorder) = try session()
        defer { withExtendedLifetime(recorder) {} }
        let bytes =
            Self.opening + Frame.make(4, 0, 0, [0, 4, 0, 0, 0, 3])
            + Frame.make(1, 5, 1, Frame.block(Self.get))
        try session.receive(bytes.span)
        let stream = try #require(recorder.streams[1])
        let none: [UInt8] = []
        session.respond(stream, status: 200, fieldLines: none.span, endsStream: false)
        session.sendData(stream, Array("abcdef".utf8).span)
        session.finish(stream, trailerLines: none.span)
        let sent = output(session)
        #expect(sent.contains(Array("abc".utf8)), "\(sent)")
        #expect(stream.queuedBytes == 3)
        try session.receive(Frame.make(8, 0, 1, [0, 0, 0, 9]).span)
        _ = output(session)
        #expect(stream.queuedBytes == 0)
    }

    /// A gRPC client lets each small message go by two windows, and measures by a PING.
    @Test func smallMessagesOneByOneAreNoFlood() throws {
        let (session, recorder) = try session()
        defer { withExtendedLifetime(recorder) {} }
        let bytes = Self.opening + Frame.make(1, 5, 1, Frame.block(Self.get))
        try session.receive(bytes.span)
        let stream = try #require(recorder.streams[1])
        session.respond(stream, status: 200, fieldLines: [UInt8]().span, endsStream: false)
        let message: [UInt8] = [0, 0, 0, 0, 1, 7]
        var output: [UInt8] = []
        for _ in 0..<5000 {
            session.sendData(stream, message.span)
            output = []
            session.appendOutput(to: &output, upTo: 1 << 16)
            let thanks =
                Frame.make(8, 0, 0, [0, 0, 0, 6]) + Frame.make(8, 0, 1, [0, 0, 0, 6])
                + Frame.make(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])
            try session.receive(thanks.span)
        }
        #expect(session.isOpen)
        #expect(stream.queuedBytes == 0)
    }

    @Test(arguments: [8, 9]) func continuationsAreCounted(frames: Int) throws {
        let (session, recorder) = try session()
        var bytes = Self.opening + Frame.make(1, 1, 1, Frame.block(Self.get))
        for index in 1...frames { bytes += Frame.make(9, index == frames ? 4 : 0, 1) }
        try session.receive(bytes.span)
        #expect(recorder.events.isEmpty == (frames == 9))
        #expect(kinds(output(session)).contains("GOAWAY 11") == (frames == 9))
    }

    @Test func theHeadIsBoundedWhileItIsDecoded() throws {
        let limits = HTTP1Limits(requestLineBytes: 10, headBytes: 100, fieldCount: 3)
        for (fields, error) in [
            ([("x", String(repeating: "y", count: 90))], "headTooLarge"),
            ([("a", ""), ("b", ""), ("c", ""), ("d", "")], "tooManyFields"),
        ] {
            let (session, recorder) = try session(HTTP2Settings(head: limits))
            let bytes = Self.opening + Frame.make(1, 5, 1, Frame.block(Self.get + fields))
            try session.receive(bytes.span)
            #expect(recorder.events == ["1 refused \(error)"])
            #expect((recorder.streams[1]?.head.bytes.count ?? 0) <= 100)
        }
    }

    /// Above the limit a stream is refused, and what its client had sent by then is no fault (section 5.1.2).
    @Test func aRefusedStreamAndItsContent() throws {
        let (session, recorder) = try session(HTTP2Settings(streams: 1))
        let bytes =
            Self.opening + Frame.make(1, 4, 1, Frame.block(Self.get))
            + Frame.make(1, 4, 3, Frame.block(Self.get)) + Frame.make(0, 0, 3, [1, 2])
            + Frame.make(0, 1, 3, [3])
        try session.receive(bytes.span)
        #expect(recorder.events == ["1 GET h/p?q [] chunked"])
        let sent = kinds(output(session))
        #expect(sent.contains("RST_STREAM 7"), "\(sent)")
        #expect(!sent.contains { $0.hasPrefix("GOAWAY") }, "\(sent)")
    }

    /// What a client began before it knew of the end is ignored (section 6.8): taken for a fault,
    /// it would cost the client the answers that it was promised.
    @Test func aStreamBeyondTheLastOneIsIgnored() throws {
        let (session, recorder) = try session()
        let bytes = Self.opening + Frame.make(1, 5, 1, Frame.block(Self.get))
        try session.receive(bytes.span)
        session.goAway(code: .noError)
        #expect(kinds(output(session)).contains("GOAWAY 0"))
        let late =
            Frame.make(1, 4, 3, Frame.block(Self.get)) + Frame.make(0, 0, 3, [1, 2])
            + Frame.make(0, 1, 3, [3])
        try session.receive(late.span)
        #expect(recorder.events == ["1 GET h/p?q [] none"])
        let stream = try #require(recorder.streams[1])
        let none: [UInt8] = []
        session.respond(stream, status: 200, fieldLines: none.span, endsStream: false)
        session.sendData(stream, Array("ok".utf8).span)
        session.finish(stream, trailerLines: none.span)
        #expect(kinds(output(session)) == ["1", "0"])
        #expect(recorder.events.last == "1 closed 0")
    }

    @Test func lateFramesAreToldFromWrongOnes() {
        var closed = ClosedStreams()
        closed.wasClosed(1)
        closed.wasReset(5)
        closed.wasClosed(5)
        #expect(closed.fault(ofLateFrameOn: 1) == .streamClosed)
        #expect(closed.fault(ofLateFrameOn: 3) == .protocolError)
        #expect(closed.fault(ofLateFrameOn: 5) == nil)
        // What is forgotten is forgiven.
        for id: Int32 in 4...140 { closed.wasClosed(2 * id - 1) }
        #expect(closed.fault(ofLateFrameOn: 1) == nil)
    }

    /// Each CONTINUATION belongs to one head: heads that are refused do not add up.
    @Test func continuationsOfRefusedHeadsDoNotAddUp() throws {
        let (session, recorder) = try session(HTTP2Settings(streams: 1))
        defer { withExtendedLifetime(recorder) {} }
        var bytes = Self.opening + Frame.make(1, 4, 1, Frame.block(Self.get))
        for id: UInt32 in 1...20 {
            bytes +=
                Frame.make(1, 0, 2 * id + 1, Frame.block(Self.get)) + Frame.make(9, 4, 2 * id + 1)
        }
        try session.receive(bytes.span)
        #expect(!kinds(output(session)).contains("GOAWAY 11"))
    }

    @Test func theBudgetIsEarnedByTimeAndWork() {
        var budget = FloodGuard()
        let first = (0..<FloodGuard.capacity).map { _ in budget.spend(1) }
        #expect(!first.contains(false))
        let (empty, earned) = (budget.spend(1), budget)
        #expect(!empty)
        budget = earned
        budget.earn(50)
        let (some, none) = (budget.spend(49), budget.spend(1))
        #expect(some && !none)
        budget.earn(.max / 2)
        let (whole, over) = (budget.spend(FloodGuard.capacity), budget.spend(1))
        #expect(whole && !over)
    }

    @Test func theWalkerFindsItsFramesHoweverTheyAreCut() {
        let bytes =
            Self.opening + Frame.make(0, 0, 3, [1, 2, 3]) + Frame.make(6, 0, 0, [9, 9])
            + Frame.make(9, 0, 3) + Frame.make(200, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0, 0])
        for size in 1...bytes.count {
            var walker = FrameWalker(preface: HTTP2ServerSession.preface.count)
            var found: [FrameWalker.Frame] = []
            var start = 0
            while start < bytes.count {
                let piece = Array(bytes[start..<min(start + size, bytes.count)])
                var offset = 0
                while let frame = walker.next(piece.span, from: &offset) { found.append(frame) }
                start += size
            }
            #expect(found == [.data(3, 3), .continuation(count: 1), .unknown], "pieces of \(size)")
        }
    }
}
