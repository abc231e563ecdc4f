//! What the clearing centre of a running city serves beside its own interface: files over its real TCP port, cut
//! and resumed; the books equation as a metric; and how an alarm would show.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tsm_api::HexBytes;
use tsm_api::clearing::collection::BatchRow;
use tsm_api::clearing_files::{self, RejectRecord, TransactionRecord};
use tsm_api::clearing_transport::NoMac;
use tsm_api::client::files::{FileClient, NamedFile, Organisation};
use tsm_api::pki::{TlsIdentity, Trust};
use tsm_domain::{CardNumber, TerminalNumber};

use crate::running::{Folder, Up, last_line, opentsm};

/// A connection that counts what is sent on it, and breaks after so many bytes.
struct Breaking<S> {
    stream: S,
    sent: u64,
    after: u64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Breaking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Breaking<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.sent + bytes.len() as u64 > self.after {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.sent += *count as u64;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The card issuer of the city, who delivers files.
struct Issuer {
    connector: tokio_rustls::TlsConnector,
    address: String,
    number: String,
}

impl Issuer {
    fn of(folder: &Folder, up: &Up) -> Self {
        let plan: Value = serde_json::from_slice(&std::fs::read(folder.file("plan.json")).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let own = &plan["sp_tsm"];
        let identity =
            TlsIdentity::from_pem(&text(&own["certificate_pem"]), &text(&own["private_key_pem"])).unwrap();
        let trust = Trust::from_pem(&text(&plan["authority_pem"])).unwrap();
        let connector = tokio_rustls::TlsConnector::from(identity.client_config(&trust).unwrap());
        Self { connector, address: text(&up.ready["files"]), number: text(&own["institution"]) }
    }

    fn organisation(&self) -> Organisation<'_> {
        Organisation { name: "Harbour Transit", code: &self.number }
    }

    async fn connect(&self, after: u64) -> Breaking<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let name = "localhost".to_owned().try_into().unwrap();
        let stream = self.connector.connect(name, stream).await.unwrap();
        Breaking { stream, sent: 0, after }
    }
}

/// Purchases of cards that nobody has: what comes back says so, row by row.
fn file_of(rows: u64) -> NamedFile {
    // No terminal of the city: it has signed nothing, and each row is kept aside.
    let terminal: TerminalNumber = "099900000099".parse().unwrap();
    let records: Vec<_> = (1..=rows)
        .map(|number| {
            let card = CardNumber::compose("31049990", 90_000_000 + number).unwrap();
            let row = BatchRow {
                number,
                card: HexBytes(card.application_serial().to_vec()),
                transaction_type: 9,
                amount_fen: 300,
                balance_fen: 700,
                offline_counter: 1,
                terminal_counter: number as u32,
                date: HexBytes(vec![0x20, 0x26, 0x11, 0x20]),
                time: HexBytes(vec![0x09, 0, 0]),
                tac: Some(HexBytes(vec![1, 2, 3, 4])),
            };
            TransactionRecord::of_row(terminal, &row).unwrap()
        })
        .collect();
    let text = clearing_files::write_file(20_261_120, "CENTRE", &records).unwrap();
    NamedFile { name: "UP20261120A".into(), content: text.into_bytes() }
}

/// A file goes to the centre's own port under TLS with the institution's certificate; the connection breaks in the
/// middle, the next one goes on from there, and the results come back over the same port.
#[test]
fn a_file_is_delivered_cut_and_resumed() {
    const ROWS: u64 = 1_000;
    let folder = Folder::new("lines");
    let up = Up::start(&folder);
    let issuer = Issuer::of(&folder, &up);
    let file = file_of(ROWS);
    let size = file.content.len() as u64;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let files = std::slice::from_ref(&file);
        let mut broken = issuer.connect(size / 2).await;
        let cut = FileClient::new(&mut broken, &NoMac, issuer.organisation()).upload(files).await;
        assert!(cut.is_err(), "the connection broke");
        let first = broken.sent;
        drop(broken);
        let mut whole = issuer.connect(u64::MAX).await;
        let refused = FileClient::new(&mut whole, &NoMac, issuer.organisation()).upload(files).await.unwrap();
        assert_eq!(refused, [], "the centre took the file");
        assert!(first > size / 3 && whole.sent < size, "what had come did not come again: {}", whole.sent);
        let mut results = Vec::new();
        for _ in 0..1_000 {
            let stream = issuer.connect(u64::MAX).await;
            let client = FileClient::new(stream, &NoMac, issuer.organisation());
            results = client.download(0, Vec::new()).await.unwrap();
            if results.len() >= 3 {
                break;
            }
        }
        let rejected = results.iter().find(|file| file.name.starts_with("FB")).unwrap();
        let (_, rejected) = clearing_files::read_file::<RejectRecord>(&rejected.content).unwrap();
        assert_eq!(rejected.len() as u64, ROWS, "each row has its answer");

        let stranger = Issuer { number: "STRANGER".into(), ..Issuer::of(&folder, &up) };
        let stream = stranger.connect(u64::MAX).await;
        let refused = FileClient::new(stream, &NoMac, stranger.organisation()).upload(files).await;
        assert!(!matches!(refused, Ok(refused) if refused.is_empty()), "nobody delivers in another's name");
    });
    check_metrics(up.ready["metrics"].as_str().unwrap(), "");
    check_doctor(&folder);
    let page = up.ready["page"].as_str().unwrap().to_owned();
    let shown = crate::live::ask(&page, "/?lang=en", None);
    assert!(shown.contains("All cards") && shown.contains("Differences"), "{shown}");
    assert!(!shown.contains("role=\"alert\""), "no alarm: {shown}");

    // Started again, the city serves the same lines, and its gates are open with the numbers they had.
    let gate = |page: &str| crate::live::ask(page, "/?lang=en", None).contains("Lighthouse");
    assert!(gate(&page));
    let (files, metrics) = (up.ready["files"].clone(), up.ready["metrics"].clone());
    up.kill();
    let again = Up::start(&folder);
    assert_eq!((&again.ready["files"], &again.ready["metrics"]), (&files, &metrics));
    // The first check of this process is over the city as it was left: its riders had paid.
    let paid = format!("opentsm_books_fen{{term=\"paid_in\"}} {}\n", again.fen("paid_in"));
    assert!(again.fen("paid_in") > 0);
    check_metrics(again.ready["metrics"].as_str().unwrap(), &paid);
    assert!(gate(again.ready["page"].as_str().unwrap()), "the gates of a city that is started again");
}

fn check_metrics(address: &str, books: &str) {
    let page = address.strip_suffix("metrics").unwrap();
    let mut metrics = String::new();
    // The first check of the cards follows the start.
    for _ in 0..10_000 {
        metrics = crate::live::ask(page, "/metrics", None);
        if metrics.contains("opentsm_books_checks_total 1") {
            break;
        }
    }
    for line in ["200 OK", "opentsm_books_gap_fen 0", "opentsm_books_alarm 0", "opentsm_books_breaks_total 0"]
    {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.contains(books), "{books}\n{metrics}");
}

fn check_doctor(folder: &Folder) {
    let output = opentsm(&["doctor", "--json", "--city", folder.text()]);
    let checks = last_line(&output);
    let books = checks.as_array().unwrap().iter().find(|check| check["what"] == "the city's books").unwrap();
    assert_eq!(books["verdict"], "good", "{books}");
    assert!(output.status.success());
    let nowhere = opentsm(&["doctor", "--city", "/nonexistent"]);
    assert!(!nowhere.status.success() && String::from_utf8_lossy(&nowhere.stdout).contains("ALARM"));
}
