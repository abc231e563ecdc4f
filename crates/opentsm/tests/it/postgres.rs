//! A throw-away PostgreSQL of this test process.

#[path = "../../../storage/tests/contract/throw_away_postgres.rs"]
mod server;

/// Its address. Each city in it has tables of its own.
pub fn url() -> String {
    format!("postgres:///postgres?host={}&user=tsm", server::socket().display())
}
