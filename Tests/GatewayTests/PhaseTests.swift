import Testing

@testable import Gateway

@Test func phasesAreNamedAsTheirFoldersInTheirOrder() {
    #expect(
        Phase.allCases.map(\.rawValue) == [
            "downstream", "routing", "authentication", "authorization", "forwarding", "upstream",
            "replies", "telemetry",
        ])
}
