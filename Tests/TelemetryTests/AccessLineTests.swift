import Foundation
import Primitives
import Testing

@testable import Telemetry

@Suite struct AccessLineTests {
    @Test func aFullRecordHasEveryMemberInOrder() {
        #expect(
            json(full()) == """
                {"time":"2026-01-01T00:00:00.000Z","request_id":"r-1","client_address":"192.0.2.1",\
                "listener":"public","protocol":"HTTP/1.1","method":"GET","host":"api.example",\
                "path":"/orders?page=2&access_token=…","route":"/orders","status":403,"bytes_in":10,\
                "bytes_out":200,"duration_ms":12.345,"auth_ms":0.020,"upstream":"127.0.0.1:8080",\
                "upstream_ms":11.000,"upstream_status":200,"scheme":"bearer","client":"shop",\
                "subject":"u-7","scopes":"read write","reason":"insufficient_scope",\
                "tls_version":"1.3","trace_id":"0af7651916cd43dd8448eb211c80319c"}
                """)
    }

    @Test func whatHasNoValueIsLeftOut() {
        #expect(
            json(AccessRecord()) == """
                {"time":"1970-01-01T00:00:00.000Z","protocol":"HTTP/1.1","status":0,"bytes_in":0,\
                "bytes_out":0,"duration_ms":0.000}
                """)
    }

    @Test func resetForgetsEverything() {
        var record = full()
        record.reset()
        #expect(json(record) == json(AccessRecord()))
        #expect(combined(record) == combined(AccessRecord()))
    }

    /// Lines around the room that is made at first, one of them exactly as long, and one far beyond.
    @Test func aLongLineIsWhole() throws {
        let rest = lineBytes(full()).count + 1
        for length in Array(4096 - rest - 20...4096 - rest + 20) + [70_000] {
            var record = full()
            let path = "/orders" + String(repeating: "x", count: length)
            record.path.replace(with: Array(path.utf8).span)
            let object = try parsed(json(record))
            #expect(object["path"] as? String == path + "?page=2&access_token=…")
            #expect(object["trace_id"] as? String == "0af7651916cd43dd8448eb211c80319c")
        }
    }

    private static let hostile: [[UInt8]] = [
        Array("x\"} \n{\"status\":200}".utf8), Array("a\r\nb\tc\0d\u{1B}[31m".utf8),
        [0xFF, 0xC0, 0xAF, 0xED, 0xA0, 0x80, 0xF4, 0x90, 0x80, 0x80, 0xE2, 0x82],
        Array("\\\"\\".utf8),
        Array(0...255),
    ]

    /// Every text field in turn holds hostile bytes: the line stays one line, valid JSON, and no other field changes.
    @Test(arguments: hostile)
    func hostileBytesForgeNothingInJSON(bytes: [UInt8]) throws {
        let plain = try parsed(json(full()))
        for (name, field) in textFields {
            var record = full()
            record[keyPath: field] = bytes
            var line = lineBytes(record)
            #expect(line.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
            let object = try parsed(String(decoding: line, as: UTF8.self))
            #expect(object.keys == plain.keys)
            for key in plain.keys where key != name {
                #expect(object[key] as? NSObject == plain[key] as? NSObject)
            }
            line.removeAll()
        }
    }

    @Test(arguments: hostile)
    func hostileBytesForgeNothingInCombined(bytes: [UInt8]) {
        for field in [\AccessRecord.client, \.method, \.path, \.query, \.referer, \.userAgent] {
            var record = full()
            record[keyPath: field] = bytes
            let line = combined(record)
            #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
            #expect(line.filter { $0 == "\"" }.count == 6)
        }
    }

    @Test func combinedIsWhatNginxWrites() {
        var record = full()
        record.referer = Array("https://shop.example/?token=SECRET&a=1".utf8)
        record.userAgent = Array("curl/8 \"x\"".utf8)
        #expect(
            combined(record) == #"192.0.2.1 - shop [01/Jan/2026:00:00:00 +0000] "#
                + #""GET /orders?page=2&access_token=\xE2\x80\xA6 HTTP/1.1" 403 200 "#
                + #""https://shop.example/?token=\xE2\x80\xA6&a=1" "curl/8 \x22x\x22""#)
    }

    @Test func combinedWritesADashForNothing() {
        #expect(
            combined(AccessRecord())
                == #"- - - [01/Jan/1970:00:00:00 +0000] " - HTTP/1.1" 000 0 "-" "-""#)
    }

    @Test func aQueryThatIsNotASCIIIsEscapedBehindThePath() throws {
        var record = full()
        record.query = [0x61, 0x3D, 0xFF, 0x22, 0x0A]
        #expect(try parsed(json(record))["path"] as? String == "/orders?a=\u{FFFD}\"\n")
    }

    // MARK: -

    private let textFields: [(String, WritableKeyPath<AccessRecord, [UInt8]>)] = [
        ("request_id", \.requestID), ("client_address", \.clientAddress), ("listener", \.listener),
        ("method", \.method), ("host", \.host), ("path", \.path), ("path", \.query),
        ("route", \.route), ("upstream", \.upstream), ("client", \.client), ("subject", \.subject),
        ("scopes", \.scopes), ("tls_version", \.tlsVersion), ("trace_id", \.traceID),
    ]

    private func full() -> AccessRecord {
        var record = AccessRecord()
        record.time = WallTime(seconds: 1_767_225_600)
        record.requestID = Array("r-1".utf8)
        record.clientAddress = Array("192.0.2.1".utf8)
        record.listener = Array("public".utf8)
        record.method = Array("GET".utf8)
        record.host = Array("api.example".utf8)
        record.path.replace(with: Array("/orders".utf8).span)
        record.query.replace(with: Array("page=2&access_token=SECRET".utf8).span)
        record.route = Array("/orders".utf8)
        record.status = 403
        record.bytesIn = 10
        record.bytesOut = 200
        record.duration = .microseconds(12_345)
        record.authenticationDuration = .microseconds(20)
        record.upstream = Array("127.0.0.1:8080".utf8)
        record.upstreamDuration = .milliseconds(11)
        record.upstreamStatus = 200
        record.scheme = .bearer
        record.client = Array("shop".utf8)
        record.subject = Array("u-7".utf8)
        record.scopes = Array("read write".utf8)
        record.reason = .insufficientScope
        record.tlsVersion = Array("1.3".utf8)
        record.traceID = Array("0af7651916cd43dd8448eb211c80319c".utf8)
        return record
    }

    private func lineBytes(_ record: AccessRecord) -> [UInt8] {
        var time = LogTime(.rfc3339)
        var line: [UInt8] = []
        AccessLog.appendJSON(record, time: &time, to: &line)
        #expect(line.popLast() == 0x0A)
        return line
    }

    private func json(_ record: AccessRecord) -> String {
        String(decoding: lineBytes(record), as: UTF8.self)
    }

    private func combined(_ record: AccessRecord) -> String {
        var time = LogTime(.commonLog)
        var line: [UInt8] = []
        AccessLine.appendCombined(record, time: &time, to: &line)
        return String(decoding: line, as: UTF8.self)
    }

    private func parsed(_ line: String) throws -> [String: Any] {
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
        return try #require(object as? [String: Any])
    }
}
