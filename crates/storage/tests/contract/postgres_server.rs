//! Stores on the throw-away PostgreSQL of this process.

use std::sync::atomic::{AtomicU32, Ordering};

use tsm_storage::postgres::{Options, Postgres, Tables};

use crate::throw_away_postgres::socket;

/// Where the server is.
pub(crate) fn url() -> String {
    format!("host={} user=tsm dbname=postgres", socket().display())
}

/// Options with a namespace that no other test has.
pub(crate) fn fresh() -> Options {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let namespace = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Options { namespace: Some(namespace), connections: 8, tls: None }
}

/// A store in a namespace of its own.
pub(crate) async fn store<S: Tables>() -> Postgres<S> {
    Postgres::open(&url(), fresh()).await.expect("the server is there")
}

/// A connection beside the store, to look and to meddle.
pub(crate) async fn beside(namespace: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path TO {namespace}")).await.unwrap();
    client
}
