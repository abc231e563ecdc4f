//! The adapter of the payment sandbox: what a merchant asks goes over HTTPS, signed, and only the platform's
//! own signed words count. A reply that is not the platform's leaves the outcome unknown.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use tracing::{info, warn};
use tsm_api::HexBytes;
use tsm_api::client::{Client, ClientError, PaymentPeer, Seal, Transport, WireReply, WireRequest};
use tsm_api::ids::{OrderId as WireOrder, PaymentId, RefundId};
use tsm_api::payment::statement_stream::Reader;
use tsm_api::payment::{
    self, NewPayment, PaymentNotification, PaymentRecord, PaymentState, PlatformKey, StatementFile,
    StatementPieceQuery, StatementQuery, StatementSeal,
};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::{ReplayWindow, SignatureError, Stamp, WINDOW};
use tsm_domain::environment::{Clock, Entropy};
use tsm_domain::money::{Statement, StatementLine};
use tsm_domain::{Fen, OrderId, PaymentReference};

use super::message::{
    MessageKey, MessageKeyError, REPLY_SERIAL, RegisteredKey, ReplyParts, RequestParts, SignedHead,
};
use super::{
    IncomingMessage, NewOrder, NewRefund, Notification, NotificationError, PaymentError, PaymentPlatform,
    PlatformOrder, PlatformState, RefundDone, StatementFailure, StatementPieces,
};
use crate::purse::to_wire;
use crate::runtime::Environment;

/// What the adapter is built from.
pub struct Parts {
    /// The way to the platform.
    pub transport: Arc<dyn Transport>,
    /// The number under which the platform knows the merchant.
    pub merchant: String,
    /// The merchant's key.
    pub key: MessageKey,
    /// The platform's keys that the merchant was given when it registered.
    pub platform_keys: Vec<PlatformKey>,
    /// Time and randomness.
    pub environment: Environment,
}

/// The payment sandbox, for one merchant.
pub struct SandboxPlatform {
    calls: PaymentPeer,
    protocol: Arc<Protocol>,
    window: ReplayWindow,
}

/// What both directions need: the merchant's key, and the platform's as far as they are known.
struct Protocol {
    merchant: String,
    key: MessageKey,
    known: RwLock<Known>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct Known {
    by_serial: BTreeMap<String, RegisteredKey>,
    newest: String,
}

impl SandboxPlatform {
    /// The adapter, with the platform's keys that it trusts from the beginning.
    pub fn new(parts: Parts) -> Result<Self, MessageKeyError> {
        let Parts { transport, merchant, key, platform_keys, environment } = parts;
        let mut known = Known { by_serial: BTreeMap::new(), newest: String::new() };
        known.add(&platform_keys, key.scheme())?;
        let window = ReplayWindow::open(environment.now());
        let Environment { clock, entropy, .. } = environment;
        let protocol = Arc::new(Protocol { merchant, key, known: RwLock::new(known), clock, entropy });
        let calls = PaymentPeer::new(Client::new(transport).sealed(protocol.clone()));
        Ok(Self { calls, protocol, window })
    }

    /// The platform's key of this serial. One that is not known is asked for; the platform's answer counts
    /// because it is signed with a key that is known.
    async fn platform_key(&self, serial: &str) -> Result<RegisteredKey, NotificationError> {
        if let Some(key) = self.protocol.platform_key(serial) {
            return Ok(key);
        }
        let keys = self.calls.platform_keys().await;
        let keys = keys.map_err(|error| NotificationError::NotNow(error.to_string()))?;
        let mut known = self.protocol.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = known.add(&keys.keys, self.protocol.key.scheme()) {
            warn!(%error, "the platform gave a key that cannot be used");
        }
        info!(newest = known.newest, "the platform has changed its keys");
        let key = known.by_serial.get(serial).cloned();
        key.ok_or_else(|| NotificationError::Forged(format!("the platform has no key {serial}")))
    }

    /// Reads a statement that was downloaded: digest, signature, lines and totals.
    pub fn open_statement(&self, day: Date, file: &StatementFile) -> Result<Statement, StatementFailure> {
        let altered = |what: &str| StatementFailure::Altered(what.to_owned());
        if file.merchant != self.protocol.merchant || file.day != day {
            return Err(altered("it is of another merchant or day"));
        }
        let StatementFile { sha256, serial, signature, .. } = file.clone();
        self.check_seal(
            day,
            payment::statement::digest(&file.text),
            &StatementSeal { sha256, serial, signature },
        )?;
        Ok(payment::statement::read(&file.merchant, day, &file.text)?)
    }

    /// The digest is the one that the platform signed.
    fn check_seal(&self, day: Date, digest: [u8; 32], seal: &StatementSeal) -> Result<(), StatementFailure> {
        let altered = |what: &str| StatementFailure::Altered(what.to_owned());
        if seal.sha256.0 != digest {
            return Err(altered("its digest is not that of its text"));
        }
        let key = self.protocol.platform_key(&seal.serial).ok_or_else(|| altered("its key is not known"))?;
        let signed = payment::statement::signed_bytes(&self.protocol.merchant, day, &digest);
        key.verify(&signed, &seal.signature.0).map_err(|_| altered("its signature is wrong"))
    }
}

#[async_trait]
impl PaymentPlatform for SandboxPlatform {
    async fn create_order(&self, order: &NewOrder) -> Result<PlatformOrder, PaymentError> {
        let request = NewPayment {
            order: WireOrder(order.order.as_uuid()),
            amount_fen: to_wire(order.amount),
            subject: order.subject.clone(),
            expires_at: Some(order.expires_at),
            means: order.means,
            payer: order.payer.map(|payer| HexBytes(payer.to_bytes().to_vec())),
        };
        let record = self.calls.create(&request).await.map_err(failed)?;
        self.own(&record, order.order)
    }

    async fn query(&self, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        let record = self.calls.query(PaymentId(order.as_uuid())).await.map_err(failed)?;
        self.own(&record, order)
    }

    async fn query_payment(&self, payment: &PaymentReference) -> Result<PlatformOrder, PaymentError> {
        let unknown = || PaymentError::Refused(Box::new(ProblemCode::UnknownId.into()));
        let asked: PaymentId = payment.as_str().parse().map(PaymentId).map_err(|_| unknown())?;
        let record = self.calls.query(asked).await.map_err(failed)?;
        if record.payment != asked || record.merchant != self.protocol.merchant {
            return Err(PaymentError::Unknown("the platform spoke of another payment".into()));
        }
        order_of(&record)
    }

    async fn close(&self, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        match self.calls.close(PaymentId(order.as_uuid())).await.map_err(failed) {
            Ok(record) => self.own(&record, order),
            // A payment was faster: the platform says how the order stands.
            Err(error) if error.code() == Some(ProblemCode::StateForbids) => self.query(order).await,
            Err(error) => Err(error),
        }
    }

    async fn refund(&self, refund: &NewRefund) -> Result<RefundDone, PaymentError> {
        let request = payment::Refund {
            refund: RefundId(refund.refund.as_uuid()),
            amount_fen: to_wire(refund.amount),
            reason: refund.reason.clone(),
        };
        let payment = refund.payment.as_str().parse().map(PaymentId);
        let payment = payment.unwrap_or_else(|_| PaymentId(refund.order.as_uuid()));
        let record = self.calls.refund(payment, &request).await.map_err(failed)?;
        if record.refund != request.refund || record.amount_fen != request.amount_fen {
            return Err(PaymentError::Unknown("the platform spoke of another refund".into()));
        }
        let amount = Fen::new(record.amount_fen.into());
        Ok(RefundDone { refund: refund.refund, amount, at: record.at })
    }

    async fn verify_notification(
        &self,
        message: &IncomingMessage<'_>,
    ) -> Result<Notification, NotificationError> {
        let forged = |error: SignatureError| NotificationError::Forged(error.to_string());
        let head = SignedHead::of_headers(message.headers).map_err(forged)?;
        // Too old to be worth asking for a key.
        let now = self.protocol.clock.now();
        if now.duration_since(head.stamp.at).abs() > WINDOW {
            return Err(NotificationError::Stale);
        }
        let key = self.platform_key(&head.serial).await?;
        let IncomingMessage { method, path, body, .. } = *message;
        let parts = RequestParts { method, path, stamp: head.stamp, body };
        key.verify_request(&head, &parts).map_err(forged)?;
        self.window.take(head.stamp, now).map_err(|error| match error {
            SignatureError::Stale => NotificationError::Stale,
            SignatureError::Replayed => NotificationError::Replayed,
            other => NotificationError::NotNow(other.to_string()),
        })?;
        let word: PaymentNotification =
            serde_json::from_slice(body).map_err(|error| NotificationError::Unreadable(error.to_string()))?;
        // The signature covers the body alone, and both must say that it is for this merchant.
        for merchant in [word.payment.merchant.as_str(), head.merchant.as_str()] {
            if merchant != self.protocol.merchant {
                return Err(NotificationError::AnotherMerchant(merchant.to_owned()));
            }
        }
        let order = order_of(&word.payment);
        Ok(Notification { order: order.map_err(|error| NotificationError::Unreadable(error.to_string()))? })
    }

    fn named_order(&self, message: &IncomingMessage<'_>) -> Option<OrderId> {
        let word: PaymentNotification = serde_json::from_slice(message.body).ok()?;
        Some(OrderId::from_uuid(word.payment.order.0))
    }

    async fn statement(&self, day: Date) -> Result<Statement, StatementFailure> {
        let file = self.calls.statement(&StatementQuery { day }).await.map_err(failed)?;
        self.open_statement(day, &file)
    }

    async fn statement_pieces<'a>(
        &'a self,
        day: Date,
    ) -> Result<Box<dyn StatementPieces + 'a>, StatementFailure> {
        let reader = Reader::new(&self.protocol.merchant, day);
        Ok(Box::new(Pieces { platform: self, day, reader: Some(reader), from: None }))
    }
}

/// A statement that is being downloaded.
struct Pieces<'a> {
    platform: &'a SandboxPlatform,
    day: Date,
    /// None after the last piece.
    reader: Option<Reader>,
    from: Option<jiff::Timestamp>,
}

#[async_trait]
impl StatementPieces for Pieces<'_> {
    async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, StatementFailure> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let altered = |what: &str| StatementFailure::Altered(what.to_owned());
        let query = StatementPieceQuery { day: self.day, from: self.from };
        let piece = self.platform.calls.statement_piece(&query).await.map_err(failed)?;
        if piece.merchant != self.platform.protocol.merchant || piece.day != self.day {
            return Err(altered("a piece is of another merchant or day"));
        }
        let lines = reader.push(&piece.text)?;
        match (piece.next, piece.seal) {
            (Some(next), None) if self.from.is_none_or(|from| from < next) => {
                self.from = Some(next);
                self.reader = Some(reader);
            }
            (None, Some(seal)) => {
                let (digest, _) = reader.finish()?;
                self.platform.check_seal(self.day, digest, &seal)?;
            }
            _ => return Err(altered("its pieces do not follow each other")),
        }
        Ok(Some(lines))
    }
}

impl SandboxPlatform {
    /// An order of this merchant that is the one asked about.
    fn own(&self, record: &PaymentRecord, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        if record.merchant != self.protocol.merchant || record.order.0 != order.as_uuid() {
            return Err(PaymentError::Unknown("the platform spoke of another order".into()));
        }
        order_of(record)
    }
}

fn order_of(record: &PaymentRecord) -> Result<PlatformOrder, PaymentError> {
    let payment: PaymentReference = record
        .payment
        .to_string()
        .parse()
        .map_err(|_| PaymentError::Unknown("the payment's reference cannot be read".into()))?;
    let state = match record.state {
        PaymentState::Open => PlatformState::Open,
        PaymentState::Paid => PlatformState::Paid,
        PaymentState::Closed => PlatformState::Closed,
        PaymentState::PartlyRefunded => {
            PlatformState::PartlyRefunded { refunded: Fen::new(record.refunded_fen.into()) }
        }
        PaymentState::Refunded => PlatformState::Refunded,
    };
    Ok(PlatformOrder {
        order: OrderId::from_uuid(record.order.0),
        payment,
        amount: Fen::new(record.amount_fen.into()),
        state,
        changed_at: record.changed_at,
    })
}

fn failed(error: ClientError) -> PaymentError {
    match error {
        ClientError::Refused(problem) => match problem.code {
            // The platform does not know itself, or does not know what it did.
            ProblemCode::OutcomeUnknown | ProblemCode::Internal | ProblemCode::Unavailable => {
                PaymentError::Unknown(problem.to_string())
            }
            _ => PaymentError::Refused(problem),
        },
        ClientError::NotSent(reason) => PaymentError::NotSent(reason),
        unreadable @ (ClientError::Unknown(_) | ClientError::Unreadable { .. }) => {
            PaymentError::Unknown(unreadable.to_string())
        }
    }
}

impl Known {
    fn add(
        &mut self,
        keys: &[PlatformKey],
        scheme: payment::PaymentSignature,
    ) -> Result<(), MessageKeyError> {
        for key in keys {
            let key = RegisteredKey::from_wire(key)?;
            if key.scheme() == scheme {
                self.newest = key.serial().to_owned();
            }
            self.by_serial.insert(key.serial().to_owned(), key);
        }
        Ok(())
    }
}

impl Protocol {
    fn platform_key(&self, serial: &str) -> Option<RegisteredKey> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_serial.get(serial).cloned()
    }

    fn stamp(&self) -> Stamp {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        Stamp { at: self.clock.now(), serial: uuid::Builder::from_random_bytes(random).into_uuid() }
    }

    fn age(&self, at: Timestamp) -> jiff::SignedDuration {
        self.clock.now().duration_since(at).abs()
    }
}

impl Seal for Protocol {
    fn seal(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<(&'static str, String)>, String> {
        let parts = RequestParts { method, path, stamp: self.stamp(), body };
        let mut headers = self.key.seal_request(&self.merchant, &parts).map_err(|error| error.to_string())?;
        let newest = self.known.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        headers.push((REPLY_SERIAL, newest));
        Ok(headers)
    }

    fn check(&self, request: &WireRequest, reply: &WireReply) -> Result<(), String> {
        let sent = |name| request.headers.iter().find(|(known, _)| *known == name);
        let asked = SignedHead::read(|name| sent(name).map(|(_, value)| value.as_str()));
        let asked = asked.map_err(|error| error.to_string())?;
        let head = SignedHead::read(|name| reply.header(name));
        let head = head
            .map_err(|error| format!("status {} without the platform's signature: {error}", reply.status))?;
        if head.merchant != self.merchant || head.stamp.serial != asked.stamp.serial {
            return Err("the reply answers another request".into());
        }
        if self.age(head.stamp.at) > WINDOW {
            return Err("the reply was signed outside the time window".into());
        }
        let key = self.platform_key(&head.serial);
        let key = key.ok_or_else(|| format!("the platform's key {} is not known", head.serial))?;
        let parts =
            ReplyParts { status: reply.status, path: &request.path, stamp: head.stamp, body: &reply.body };
        key.verify_reply(&head, &parts).map_err(|error| error.to_string())
    }
}
