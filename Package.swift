// swift-tools-version: 6.2
import PackageDescription

// The only list of targets and of who may import whom; imports go down this list, never up.

let swift: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableExperimentalFeature("Lifetimes"),
]
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6)]

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swift)
}

func proof(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["TestSupport"], swiftSettings: tests)
}

let package = Package(
    name: "gatehouse",
    products: [
        .executable(name: "gatehouse", targets: ["gatehouse"]),
        // For the harnesses in Fuzz and the micro-benchmarks in Benchmarks alone.
        .library(name: "Primitives", targets: ["Primitives"]),
        .library(name: "Cryptography", targets: ["Cryptography"]),
        .library(name: "HTTP", targets: ["HTTP"]),
        .library(name: "Configuration", targets: ["Configuration"]),
        .library(name: "OAuth", targets: ["OAuth"]),
        .library(name: "Gateway", targets: ["Gateway"]),
    ],
    dependencies: [
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CNghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CAres", providers: [.apt(["libc-ares-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        room("Primitives", []),
        room("Cryptography", ["Primitives", "COpenSSL"]),
        room("HTTP", ["Primitives", "CNghttp2"]),
        room("Configuration", ["Primitives"]),
        room("Telemetry", ["Primitives"]),
        room("Transport", ["Primitives", "Cryptography", "CLinux", "CAres", "COpenSSL"]),
        room("OAuth", ["Primitives", "Cryptography", "HTTP"]),
        room(
            "Store",
            [
                "Primitives", "Cryptography", "OAuth", "Transport", "CHiredis",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        room(
            "Gateway",
            [
                "Primitives", "Cryptography", "HTTP", "Configuration", "Telemetry", "Transport",
                "OAuth", "Store",
            ]),
        .executableTarget(
            name: "gatehouse",
            dependencies: [
                "Gateway", "Configuration", "Telemetry", "OAuth", "Store", "Primitives",
                "Cryptography",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swift),
        .target(
            name: "TestSupport", path: "Tests/TestSupport", exclude: ["Fixtures"],
            swiftSettings: tests),
        proof("PrimitivesTests", ["Primitives"]),
        proof("CryptographyTests", ["Cryptography", "Primitives"]),
        proof("HTTPTests", ["HTTP", "Primitives"]),
        proof("ConfigurationTests", ["Configuration", "Primitives"]),
        proof("TelemetryTests", ["Telemetry", "Primitives"]),
        proof("TransportTests", ["Transport", "Primitives"]),
        proof("OAuthTests", ["OAuth", "HTTP", "Cryptography", "Primitives"]),
        proof(
            "StoreTests",
            [
                "Store", "OAuth", "Cryptography", "Primitives", "Transport",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        proof(
            "GatewayTests",
            [
                "Gateway", "Store", "OAuth", "HTTP", "Telemetry", "Configuration", "Cryptography",
                "Primitives",
            ]),
        .testTarget(
            name: "GatehouseTests",
            dependencies: ["OAuth", "Cryptography", "Primitives", "TestSupport", "COpenSSL"],
            exclude: [
                "http2_conformance.py", "http2_flooding_upstream.py", "http2_floods.py",
                "http2_frames.py", "http2_peer.py",
                "http2_upstream.py", "dpop_client.py", "authlib_peer.py", "grpc_peer.py",
                "oauth1_client.py",
                "oauth1_dance.py",
                "oauth1_dance.php", "oauth1_dance.pl", "oauth1_dance.rb",
                "tls_client.py", "token_flood.py",
            ], swiftSettings: tests),
    ]
)
