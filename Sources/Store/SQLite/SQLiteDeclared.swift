import GRDB
import Primitives

/// The clients of the conf, which are in no other table.
extension SQLiteState {
    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError) {
        // Mostly nothing has changed, and nothing is written.
        let known = try read { try Self.declared($0) }
        guard known != ids else { return }
        try write { database in
            let known = try Self.declared(database)
            for id in known.subtracting(ids) {
                if try !Self.hasClient(id, database) {
                    try revoke(
                        DeclaredClients.revocation(of: id, leftAt: now, until: until), database)
                }
                try database.execute(
                    sql: "DELETE FROM declared_client WHERE id = ?", arguments: [id])
            }
            for id in ids.subtracting(known) {
                try database.execute(
                    sql: "INSERT INTO declared_client (id) VALUES (?)", arguments: [id])
            }
        }
    }

    private static func declared(_ database: Database) throws -> Set<String> {
        try String.fetchSet(database, sql: "SELECT id FROM declared_client")
    }
}
