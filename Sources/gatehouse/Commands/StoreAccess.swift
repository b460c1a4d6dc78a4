import ArgumentParser
import Configuration
import Foundation
import Gateway
import Primitives
import Store

/// The running gateway's store, opened by a command: it reads and writes beside the gateway, which sees a change within a
/// second. It never begins a run, so that it takes no replay protection from anybody.
struct StoreAccess {
    let configuration: Configuration
    let store: StateStore

    init(_ options: ConfigOption) throws {
        do throws(StartError) {
            configuration = try ConfigurationFile.load(options.config)
            store = try StateStore.open(configuration)
        } catch {
            throw error.exit
        }
    }

    func perform<Value>(_ operation: StoreOperation<Value>) throws -> Value {
        do throws(StoreError) {
            return try store.perform(operation)
        } catch {
            Diagnostics.write("gatehouse: \(error)")
            switch error {
            case .clientExists, .unknownClient, .invalidClient: throw ExitCode(64)
            case .readOnly: throw ExitCode(77)
            default: throw ExitCode(69)
            }
        }
    }
}

/// Results on stdout, as text or as JSON.
enum Output {
    static func json(_ object: Any) {
        let options: JSONSerialization.WritingOptions = [
            .prettyPrinted, .sortedKeys, .withoutEscapingSlashes,
        ]
        guard let data = try? JSONSerialization.data(withJSONObject: object, options: options)
        else { return }
        print(String(decoding: data, as: UTF8.self))
    }

    static func time(_ time: WallTime) -> String {
        let date = Date(timeIntervalSince1970: Double(time.seconds))
        return ISO8601DateFormatter().string(from: date)
    }
}
