import Foundation
import HTTP
import Primitives
import TestSupport
import Testing

/// Every case of http1.json through the parsers: what is accepted, what is refused, and that it does not matter how the
/// bytes arrive.
struct RequestVectorTests {
    struct Outcome: Equatable, CustomStringConvertible {
        var heads: [String] = []
        var bodies: [[UInt8]] = []
        var status: Int?
        var isIncomplete = false
        var description: String {
            "\(heads) \(bodies) \(String(describing: status)) \(isIncomplete)"
        }
    }

    static func bytes(_ vector: [String: Any]) -> [UInt8] {
        if let raw = vector["raw"] as? String { return Array(raw.utf8) }
        if let text = vector["raw_b64"] as? String {
            return Array(Data(base64Encoded: text) ?? Data())
        }
        var output: [UInt8] = []
        for part in vector["raw_repeat"] as? [[Any]] ?? [] {
            let piece = Array((part.first as? String ?? "").unicodeScalars.map { UInt8($0.value) })
            for _ in 0..<(part.last as? Int ?? 0) { output += piece }
        }
        return output
    }

    /// Feeds pieces of the bytes and follows the stream to its end, its fault or the peer's end.
    static func run(_ bytes: [UInt8], pieces: [Range<Int>]) -> Outcome {
        var outcome = Outcome()
        let head = RequestHead()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        var decoder: ChunkedDecoder?
        var remaining = 0
        var body: [UInt8] = []
        var isInHead = true
        do throws(HTTP1Error) {
            for piece in pieces {
                let input = Array(bytes[piece])
                var offset = 0
                while offset < input.count {
                    if isInHead {
                        let progress = try parser.parse(input.span, from: offset, into: head)
                        guard case .complete(let next) = progress else { break }
                        offset = next
                        outcome.heads.append(
                            String(
                                decoding: head.span(of: head.methodRange).array + [32]
                                    + head.span(of: head.target).array, as: UTF8.self))
                        body = []
                        remaining = 0
                        decoder = nil
                        switch head.framing {
                        case .none, .untilClose: break
                        case .length(let count): remaining = count
                        case .chunked: decoder = ChunkedDecoder()
                        }
                        isInHead = false
                    }
                    if remaining > 0 {
                        let count = min(remaining, input.count - offset)
                        body += input[offset..<offset + count]
                        offset += count
                        remaining -= count
                    }
                    var isEnded = remaining == 0
                    if decoder != nil {
                        isEnded = false
                        loop: while true {
                            switch try decoder?.next(input.span, from: &offset) {
                            case .data(let range): body += input[range]
                            case .end:
                                isEnded = true
                                break loop
                            case .needsMore, nil: break loop
                            }
                        }
                    }
                    if isEnded {
                        outcome.bodies.append(body)
                        if !head.keepsAlive { return outcome }
                        isInHead = true
                        parser.reset()
                        head.reset()
                    }
                }
            }
            outcome.isIncomplete = !isInHead || parser.hasBegun
        } catch {
            outcome.status = error.status
        }
        return outcome
    }

    @Test func everyVectorIsDecidedAsItSays() throws {
        let vectors = try #require(try Fixtures.json("http1.json")["cases"] as? [[String: Any]])
        #expect(vectors.count == 271)
        // Judged by the gateway, not by the parser: methods it never forwards, limits of bodies, paths.
        let elsewhere: Set<String> = ["method-trace", "method-connect", "cl-too-large"]
        var decided = 0
        for vector in vectors {
            let id = vector["id"] as? String ?? "?"
            let bytes = Self.bytes(vector)
            let outcome = Self.run(bytes, pieces: [0..<bytes.count])
            guard let isAccepted = vector["accept"] as? Bool, !elsewhere.contains(id) else {
                continue
            }
            decided += 1
            if isAccepted {
                let isPipelined = vector["second_status"] != nil
                #expect(outcome.status == nil || isPipelined, "\(id): \(outcome)")
                #expect(!outcome.heads.isEmpty, "\(id)")
                #expect(!outcome.isIncomplete, "\(id): \(outcome)")
                if let meaning = vector["meaning"] as? [String: String], let body = meaning["body"]
                {
                    #expect(outcome.bodies.first == Array(body.utf8), "\(id)")
                }
            } else {
                let statuses = vector["status"] as? [Int] ?? []
                #expect(
                    outcome.status.map(statuses.contains) ?? outcome.isIncomplete,
                    "\(id): \(outcome), not \(statuses)")
            }
        }
        #expect(decided == 218)
    }

    @Test func theCutOfTheStreamChangesNothing() throws {
        let vectors = try #require(try Fixtures.json("http1.json")["cases"] as? [[String: Any]])
        for vector in vectors {
            let bytes = Self.bytes(vector)
            guard bytes.count > 1, bytes.count < 2000 else { continue }
            let whole = Self.run(bytes, pieces: [0..<bytes.count])
            let single = Self.run(bytes, pieces: (0..<bytes.count).map { $0..<$0 + 1 })
            #expect(whole == single, "\(vector["id"] ?? "?") byte by byte")
            for cut in 1..<bytes.count {
                let halves = Self.run(bytes, pieces: [0..<cut, cut..<bytes.count])
                #expect(whole == halves, "\(vector["id"] ?? "?") cut at \(cut)")
            }
        }
    }
}
